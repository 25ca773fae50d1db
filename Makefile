# make test is all that a newcomer needs: it installs what the tests need on a Debian
# machine with Go and Node, and runs everything.

GO ?= go

.PHONY: build test tools bench bench-live fuzz sbom notices vuln

# What is released, too: it knows its version by the tag of the commit, or the commit, and comes out the same everywhere (.ci/reproducible).
build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags='-s -w' -o latchpost .

test: tools
	$(GO) test -race -timeout 50m ./...
	$(GO) test -tags conformance -run Conformance ./mcp

tools:
	.ci/tools

bench:
	$(GO) test -run '^$$' -bench '^BenchmarkTargets$$' -benchtime 1x -timeout 30m . | grep '^{'

bench-live: tools
	$(GO) test -run '^$$' -bench '^BenchmarkLive$$' -benchtime 1x -timeout 20m ./browserlogin | grep '^{'

fuzz:
	.ci/fuzz 60s

# What the binary is made of (CycloneDX), and the licences to ship with it.
sbom notices:
	@$(MAKE) -s --no-print-directory build
	@$(GO) run ./.ci/sbom $(if $(filter notices,$@),-notices) latchpost

# Needs the vulnerability database, which is not reachable from everywhere.
vuln:
	.ci/daily
