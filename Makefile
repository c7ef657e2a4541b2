# Gantry. `make up` starts a cluster on this machine, `make test` tests everything.

GO      ?= go
BIN     := bin
VERSION := 0.1.0
KUBERNETES := 1.37.2

export GOFLAGS := -mod=readonly -buildvcs=false
export CGO_ENABLED ?= 0

SOURCES := $(shell find cmd core interfaces plugins workloads controllers -name '*.go' -not -name '*_test.go' 2>/dev/null) \
           core/api/openapi/documents.zip go.mod go.sum
LDFLAGS := -s -w -X main.version=$(VERSION)
KUBECTL_LDFLAGS := -s -w $(foreach v,gitVersion=v$(KUBERNETES) gitMajor=1 gitMinor=37 gitTreeState=clean,-X k8s.io/component-base/version.$(v))

.PHONY: build up down test test-tools unit e2e lint generate fuzz bench conformance conformance-part clean images stack

build: $(BIN)/gantry $(BIN)/gantry-cni $(BIN)/gantry-shim $(BIN)/kubectl $(BIN)/plugins/SHA256SUMS images stack

$(BIN)/gantry: $(SOURCES)
	$(GO) build -ldflags "$(LDFLAGS)" -o $@ ./cmd/gantry

$(BIN)/gantry-cni: $(SOURCES)
	$(GO) build -ldflags "$(LDFLAGS)" -o $@ ./cmd/gantry-cni

$(BIN)/gantry-shim: cmd/gantry-shim/main.go go.mod go.sum
	$(GO) build -ldflags "$(LDFLAGS)" -o $@ ./cmd/gantry-shim

$(BIN)/kubectl: cmd/kubectl/main.go go.mod go.sum
	$(GO) build -ldflags "$(KUBECTL_LDFLAGS)" -o $@ ./cmd/kubectl

# The host refuses a plugin that is not as listed here.
$(BIN)/plugins/SHA256SUMS: $(SOURCES)
	@mkdir -p $(BIN)/plugins
	$(GO) build -ldflags "$(LDFLAGS)" -o $(BIN)/plugins/ $(addprefix ./,$(wildcard cmd/plugin-*))
	cd $(BIN)/plugins && sha256sum plugin-* > SHA256SUMS

images:
	@$(MAKE) --no-print-directory -C cmd/build-images

stack:
	@$(MAKE) --no-print-directory -C stack

up: build
	@$(BIN)/gantry up

down:
	@if [ -x $(BIN)/gantry ]; then $(BIN)/gantry down; fi

# unit is quick and needs neither root nor containers.
unit:
	$(GO) test ./...
	cd stack && GOWORK=off $(GO) test ./shim/...

# e2e runs real containers, as root, each test in network namespaces of its own without an uplink.
e2e: build test-tools
	$(GO) test -tags e2e -count=1 -timeout 60m -p 1 ./cmd/... ./core/... ./plugins/... ./test/...

# What only tests need: Helm and kube-apiserver, which take some minutes to build the first time, static shells and tools for the
# images that they make, and an older runtime that somebody else made. That one is only unpacked: nothing of it is installed or
# started.
test-tools: $(BIN)/debian/usr/bin/containerd $(BIN)/conformance/kube-apiserver $(BIN)/conformance/examples.json
	@$(MAKE) --no-print-directory -C test/helm
	@[ -x /bin/busybox ] && [ -x /bin/bash-static ] && [ -x /bin/nc.openbsd ] && command -v curl >/dev/null || \
		{ apt-get update && apt-get install -y busybox-static bash-static netcat-openbsd curl; }

# A kube-apiserver and what Kubernetes' tests have it store, for the move of an etcd.
$(BIN)/conformance/kube-apiserver: test/conformance/go.mod test/conformance/go.sum
	cd test/conformance && GOWORK=off $(GO) build -p 2 -o $(CURDIR)/$@ \
	  -ldflags "-s -w $(foreach v,gitVersion=v1.36.3 gitMajor=1 gitMinor=36,-X k8s.io/component-base/version.$(v))" k8s.io/kubernetes/cmd/kube-apiserver
	@touch $@

$(BIN)/conformance/examples.json: test/conformance/go.mod test/conformance/go.sum test/conformance/examples/main.go
	@mkdir -p $(@D)
	cd test/conformance && GOWORK=off $(GO) run -p 2 ./examples > $(CURDIR)/$@.new && mv $(CURDIR)/$@.new $(CURDIR)/$@

$(BIN)/debian/usr/bin/containerd:
	@mkdir -p $(BIN)/debian/packages
	cd $(BIN)/debian/packages && { apt-get download containerd runc || { apt-get update && apt-get download containerd runc; }; }
	for package in $(BIN)/debian/packages/*.deb; do dpkg -x $$package $(BIN)/debian; done
	touch $@

lint:
	$(GO) vet ./... && $(GO) vet -tags e2e ./...
	$(GO) tool staticcheck ./...
	cd stack && GOWORK=off $(GO) vet ./shim/...
	@out=$$($(GO) tool gofumpt -l cmd core examples interfaces plugins stack workloads controllers test); \
	if [ -n "$$out" ]; then echo "not formatted by gofumpt:"; echo "$$out"; exit 1; fi

test: lint unit e2e conformance-part

# fuzz runs the targets of the API server's decoders, patches and queries, a minute each. What they find is kept below testdata.
fuzz:
	for target in FuzzDecode FuzzPatch FuzzQuery; do $(GO) test -run xxx -fuzz "^$$target$$" -fuzztime 60s ./core/apiserver || exit 1; done

generate:
	$(GO) generate ./...

bench: build
	$(GO) run ./test/bench

# conformance runs Kubernetes' own tests, the apps and scheduling ones of its conformance suite unless FOCUS and SKIP say otherwise,
# and writes docs/conformance.md. The first time it builds them, which takes minutes. They ask for seccomp, and so runc is
# built with it.
conformance: build test-tools
	@pkg-config --exists libseccomp || { apt-get update && apt-get install -y pkg-config libseccomp-dev; }
	cd test/conformance && GOWORK=off $(GO) run . -cache $(CURDIR)/$(BIN)/conformance $(if $(FOCUS),-focus '$(FOCUS)') $(if $(SKIP),-skip '$(SKIP)')

# conformance-part runs the quick and steady ones among them, which test/conformance/part.go names: some minutes, at most ten.
# Building Kubernetes' tests comes on top, the first time 5 minutes of two free cores or so; they are kept in $(BIN)/conformance.
conformance-part: build test-tools
	cd test/conformance && GOWORK=off $(GO) run . -cache $(CURDIR)/$(BIN)/conformance -part -seccomp=false -table '' -timeout 10m

clean:
	rm -rf $(BIN)
