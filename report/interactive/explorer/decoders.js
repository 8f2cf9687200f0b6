/** The trained decoders that the page holds, and what they make of latent numbers. */

/** The tensors of a safetensors file: the length of a header, the header in JSON, the numbers. */
function tensors(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const begin = 8 + new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, begin)));
  delete header.__metadata__;
  const kinds = { F32: Float32Array, U8: Uint8Array };
  const read = ({ dtype, data_offsets: [from, to] }) =>
    new kinds[dtype](bytes.buffer.slice(begin + from, begin + to));
  return Object.fromEntries(Object.entries(header).map(([name, about]) => [name, read(about)]));
}

const unpacked = {};

/** One of the decoders "vae", "vae_2d" and "gan", with what the page knows of its latent space. */
export function model(name) {
  return (unpacked[name] ??= unpack(tensors(document.getElementById(name).textContent)));
}

function unpack({ slope: [slope], kl, codes, labels, ...own }) {
  const layers = [];
  while (`${layers.length}.weight` in own) {
    layers.push({ weight: own[`${layers.length}.weight`], bias: own[`${layers.length}.bias`] });
  }
  const size = layers[0].weight.length / layers[0].bias.length;
  const code = (_, i) => codes.subarray(i * size, (i + 1) * size);
  return { layers, slope, size, kl, labels, codes: labels && Array.from(labels, code) };
}

/** The 784 pixels, in [0, 1], that a decoder makes of the latent numbers z. */
export function decode(name, z) {
  const { layers, slope } = model(name);
  let h = Float32Array.from(z);
  for (const layer of layers) {
    const below = h, { weight, bias } = layer, isLast = layer === layers.at(-1);
    h = bias.map((sum, row) => {
      const begin = row * below.length;
      for (let i = 0; i < below.length; i++) sum += weight[begin + i] * below[i];
      if (isLast) return 1 / (1 + Math.exp(-sum));
      return sum < 0 ? slope * sum : sum;
    });
  }
  return h;
}
