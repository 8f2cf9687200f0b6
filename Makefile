# Thin targets; each makes .venv when it is missing. Needs make, git and python3 (3.11 or newer)
# with venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
METADATA := build/metadata

.PHONY: digits run test verify refresh tolerances studies classifier report guide slides book serve lab-pictures test-book metadata release mutants faults bench clean

digits: $(READY) ## a first picture: two epochs, a hundred samples, into build/digits.png
	$(BIN)/python -m vae_helpers digits

run: $(READY) ## execute the whole course on MNIST into build/ and build the report from it
	$(BIN)/python -m vae_helpers run
	$(BIN)/python report/build.py --results build/full --output build/report/report.pdf --commit "$$(git rev-parse --short HEAD 2>/dev/null)"

test: $(READY) ## linter, types, unit tests, notebook rules, the course in miniature
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -q -n 2 --dist loadfile
	$(BIN)/python tests/verify.py --smoke

verify: $(READY) ## hold the committed outputs against a new execution
	$(BIN)/pytest -q tests/test_notebooks.py
	$(BIN)/python tests/verify.py

refresh: $(READY) ## the only way in which committed outputs are made, and the smoke references
	$(BIN)/python -m vae_helpers refresh
	$(BIN)/python report/places.py
	$(BIN)/python report/build.py --results report --output report/report.pdf
	$(BIN)/python report/guide.py --output report/instructor.pdf
	$(BIN)/python report/cards.py
	$(BIN)/python report/seal.py

tolerances: $(READY) ## report/tolerances.toml, from each notebook over ten seeds; goes on where it was stopped
	$(BIN)/python -m vae_helpers tolerances --profile smoke
	$(BIN)/python -m vae_helpers tolerances --profile full

studies: $(READY) ## the studies of report/studies.toml; hours, goes on where it was stopped
	$(BIN)/python -m vae_helpers studies

classifier: $(READY) ## train the reference classifier again and compare its weights with the committed ones
	$(BIN)/python -m vae_helpers classifier

report: $(READY) ## the committed report, from the committed results
	$(BIN)/python report/build.py --results report --output report/report.pdf

guide: $(READY) ## the instructor's guide, from what lessons and exercises say of themselves
	$(BIN)/python report/guide.py --output report/instructor.pdf

slides: $(READY) ## a lecture per lesson, into build/report/slides.pdf
	$(BIN)/python report/guide.py --slides build/report/slides.pdf --results report

book: $(READY) ## the committed notebooks, the report and the explorer as pages, into build/book/
	$(BIN)/python report/book.py --results report --notebooks notebooks --output build/book

serve: book ## show the book at http://localhost:8000, to this machine alone
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/book 8000

lab-pictures: book ## the pictures of the lab's stories in the notebooks, taken in Chromium
	$(BIN)/pip install --disable-pip-version-check --quiet -e '.[browser]'
	$(BIN)/python report/lab_pictures.py --page build/book/lab.html --output report/interactive/pictures

test-book: book ## open every page of the book in a real browser; installs Debian's if there is none
	test -x /usr/bin/chromium || { apt-get update -qq && apt-get install -y -qq chromium fonts-dejavu-core; }
	$(BIN)/pip install --disable-pip-version-check --quiet -e '.[browser]'
	$(BIN)/pytest -q -n 2 --dist loadgroup tests/browser

metadata: $(METADATA)/ready ## build/crate and build/dist, with what others' tools read, and have those tools check them
	$(BIN)/python report/crate.py --output build/crate
	rm -rf build/dist
	$(METADATA)/bin/python -m build --no-isolation --outdir build/dist
	$(METADATA)/bin/python -m pytest -q -n 2 --dist loadfile tests/metadata

release: metadata book ## what is published with a tag, into build/dist
	test -z "$$(git status --porcelain)"
	cp report/report.pdf report/instructor.pdf build/dist
	$(BIN)/python -m zipfile -c build/dist/book.zip build/book
	$(BIN)/python -m zipfile -c build/dist/crate.zip build/crate
	cd build/dist && sha256sum *.* > SHA256SUMS

mutants: $(READY) ## plant mistakes in copies, show which test catches each, and count
	$(BIN)/pip install --disable-pip-version-check --quiet -e '.[mutants]'
	$(BIN)/pytest -q tests/test_catalogue.py
	$(BIN)/python tests/mutants.py $(PART)

faults: $(READY) ## kill and damage runs, fifty times each, and count what was lost
	$(BIN)/python tests/faults.py

bench: $(READY) ## our loops, those of others and the floor, interleaved; some minutes
	$(BIN)/python -m vae_helpers bench

clean: ## remove what executions made, but not .venv
	rm -rf build runs data/.unpacked .pytest_cache .mypy_cache .ruff_cache

# The validators have an environment of their own, as they bring pandas along. It borrows the other packages
# from .venv. cffconvert asks for an older jsonschema than Jupyter does and works with either.
$(METADATA)/ready: $(READY)
	$(BIN)/python -m venv $(METADATA)
	$(BIN)/python -c "import sysconfig as s; print(f'import site; site.addsitedir({s.get_path(\"purelib\")!r})')" \
	    > "$$($(METADATA)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/course.pth"
	$(METADATA)/bin/pip install --disable-pip-version-check --quiet -e '.[metadata]'
	$(METADATA)/bin/pip install --disable-pip-version-check --quiet --no-deps cffconvert==2.0.0
	touch $@

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	touch $@
