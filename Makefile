# make            build, then what `make test` checks
# Only Go is needed, but for epics and test-epics (Python 3 with venv).

GO       ?= go
BIN      := bin/pvlog
BUF      := github.com/bufbuild/buf/cmd/buf@v1.75.0
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZTIME ?= 10s
FUZZDIR  ?= .
COUNT    ?= 6

.PHONY: all build test race lint fmt fuzz generate bench demo crash crash-mutants epics test-epics clean

all: build test

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X pvlog/cmd/pvlog/appliance.version=$(VERSION)" -o $(BIN) ./cmd/pvlog

test: lint race

race:
	$(GO) test -race ./...

lint:
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt -w would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fmt:
	gofmt -w $$(git ls-files '*.go')

# Every fuzz target below FUZZDIR for FUZZTIME.
fuzz:
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' $(FUZZDIR) | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -h '^func Fuzz' $$dir/*_test.go | sed 's/func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
	    echo "== $$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$dir; done; done

# Writes schema/*pb from schema/*.proto; leaves no difference.
generate:
	cd schema && $(GO) run $(BUF) generate

bench:
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./... | tee bench.out
	$(GO) run golang.org/x/perf/cmd/benchstat@latest bench.out

# kill -9 and power cuts at random moments: CRASH_ROUNDS of each, going on for
# CRASH_TIME (10m, 1h). A failure names its CRASH_SEED. Power cuts need FUSE.
CRASH_ROUNDS ?= 200
CRASH_TIME   ?=
CRASH_SEED   ?=
crash:
	CRASH_ROUNDS=$(CRASH_ROUNDS) CRASH_TIME=$(CRASH_TIME) CRASH_SEED=$(CRASH_SEED) \
	  $(GO) test -count=1 -timeout 0 -v -run '^(TestKillsAtRandomMoments|TestPowerCutsLose)' ./integration/

# Leaves out one part of the promise after the other: a test must fail each time.
crash-mutants:
	CRASH_MUTANTS=1 $(GO) test -count=1 -timeout 0 -v -run '^TestMutantsOfThePromise' ./integration/

demo: build
	$(BIN) demo $(DEMO)

# A real EPICS IOC and clients in .epics, from the Python package registry.
epics: .epics/ready

.epics/ready: integration/epics/requirements.txt
	@command -v python3 >/dev/null || { echo "make epics needs python3 with venv"; exit 1; }
	python3 -m venv .epics || { echo "make epics needs python3's venv (Debian: apt-get install python3-venv)"; exit 1; }
	.epics/bin/pip install --quiet --disable-pip-version-check -r integration/epics/requirements.txt
	.epics/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python epicsarchiver-mgmt-client==1.1.0
	touch $@

test-epics: epics
	PVLOG_EPICS=1 $(GO) test -race -count=1 -timeout 15m -run '^TestEpics' -v ./integration/

clean:
	rm -rf bin bench.out
