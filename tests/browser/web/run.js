/** Answer the requests of standard input, a JSON array, on standard output. */

import { readFileSync } from "node:fs";

import * as exact from "../../../report/interactive/lab/exact.js";
import * as training from "../../../report/interactive/lab/training.js";
import * as vae from "../../../report/interactive/lab/vae.js";
import { answer } from "./answer.js";

const requests = JSON.parse(readFileSync(0, "utf8"));
const answers = requests.map((request) => answer({ exact, training, vae }, request));
process.stdout.write(JSON.stringify(answers));
