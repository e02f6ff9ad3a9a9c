# The two commands of a newcomer are `make demo` and `make test`. Each does its
# own set-up: Go is all that must be there.

GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.1
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The CDK command, from its lock file. It wants to know what is deployed:
# make deploy VENDOR=acme SLUICE_ENVIRONMENT=production.yaml
CDK = cd infra && SLUICE_VENDOR=$(VENDOR) ./node/node_modules/.bin/cdk
CDK_READY = infra/node/node_modules/.package-lock.json
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION = 20

.PHONY: demo test prove bench lint vuln build synth diff deploy destroy vendor-named aws-local price

demo: ## walk the simulated vendor on this machine, prove the result complete
	@$(GO) run ./cmd/sluice demo

build: ## bin/sluice and bin/seed
	$(GO) build -trimpath -o bin/ ./cmd/...

$(CDK_READY): infra/node/package-lock.json
	npm ci --prefix infra/node --no-audit --no-fund

synth: $(CDK_READY) ## the stacks' templates into infra/cdk.out: offline
	$(GO) -C infra run .

diff: $(CDK_READY) ## what a deployment would change
	$(CDK) diff

deploy: vendor-named $(CDK_READY) ## the shared stack and VENDOR's
	$(CDK) deploy --all

destroy: vendor-named $(CDK_READY) ## VENDOR's stack; its table and bucket stay
	$(CDK) destroy '*-$(VENDOR)'

vendor-named:
	@test -n "$(VENDOR)" || { echo "which vendor? make $(MAKECMDGOALS) VENDOR=NAME"; exit 1; }

price: ## the reference day at list price, from counted calls: about 25 minutes
	@$(GO) run ./test/awslocal -price

aws-local: ## the synthesized stack on this machine, on stand-in servers
	@$(GO) run ./test/awslocal

test: lint ## all tests, with the race detector; real servers are installed if missing; test/lake fetches DuckDB
	$(GO) test -race -timeout 15m ./test/... ./... # the longest first
	$(GO) -C infra test -timeout 15m ./...
	$(GO) -C test/lake test -timeout 10m ./...

lint: ## formatting, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags prove,bench ./...
	$(GO) vet -tags lambda.norpc ./cmd/seed
	$(GO) run $(STATICCHECK) -tags prove,bench ./...
	$(GO) -C infra vet ./...
	cd infra && $(GO) run $(STATICCHECK) ./...
	$(GO) -C test/lake vet ./...
	cd test/lake && $(GO) run $(STATICCHECK) ./...

vuln: ## known vulnerabilities in what is used (asks vuln.go.dev)
	$(GO) run $(GOVULNCHECK) ./...

prove: ## limits, limiters, kills, outages and hand-overs in real time: about 35 minutes
	$(GO) test -tags prove -count 1 -timeout 40m -v -run 'TestShare|TestRateHalved|TestBrake|TestClockAhead|TestOutage|TestKills|TestReplayKills|TestPlan|TestLimiters' ./test
	$(GO) test -tags prove -count 1 -timeout 40m -v -run 'TestKillsOnAWS|TestHandover|TestSlices' ./test/aws
	$(GO) test -tags prove -count 1 -timeout 20m -v -run 'TestManyLetters|TestLettersCost' ./internal/localfleet ./internal/awsfleet
	$(GO) test -tags prove -count 1 -timeout 10m -v -run 'TestReport' ./test/browser
	$(GO) test -tags prove -count 1 -timeout 10m -run 'TestCalendar|TestPauses|TestAppAnnie|TestLanes|TestScopes|TestWeights' ./internal/governor ./internal/fleet

bench: ## the targets beside the measured figures
	@$(GO) test -count 1 -v -run 'TestBudgets' ./internal/fanout | grep target
	@$(GO) test -count 1 -v -run 'TestShare|TestWritesPerCall' ./internal/governor | grep target
	@$(GO) test -count 1 -run '^$$' -bench 'Engine' -benchtime 30000x ./internal/fleet | grep Benchmark
	@$(GO) test -count 1 -run '^$$' -bench 'Call' -benchtime 1s ./internal/vendorapi | grep Benchmark
	@$(GO) test -count 1 -v -run 'TestZips' ./internal/functions | grep target
	@$(GO) test -count 1 -v -run 'TestPlanAgainstReality' ./internal/fleet | grep -E 'said|FAIL'
	@$(GO) test -count 1 -run '^$$' -bench 'MillionNodes' ./internal/forecast | grep Benchmark
	@$(GO) test -count 1 -run '^$$' -bench 'FirstPoll' -benchtime 20x ./internal/functions | grep Benchmark
	@$(GO) test -count 1 -run '^$$' -bench 'SQS' -benchtime 20000x ./test/aws | grep Benchmark
	@$(GO) test -count 1 -tags bench -v -run 'TestMemory' -timeout 10m ./internal/functions | grep target
	@$(GO) test -count 1 -tags bench -v -run 'TestWorkerMemory' -timeout 10m ./test | grep -E 'target|FAIL|ended'
	@$(GO) test -count 1 -run '^$$' -bench 'LakeRows' -cpu 1 -benchtime 1s ./internal/vendorapi | grep Benchmark
	@$(GO) test -count 1 -run '^$$' -bench 'Convert|Publish' -cpu 1 -benchtime 5x ./internal/lake | grep Benchmark
	@$(GO) test -count 1 -v -run 'TestSmaller' ./internal/columns | grep gzip
	@$(GO) test -count 1 -tags bench -v -run 'TestLakeMemory' -timeout 15m ./internal/lake | grep -E 'target|FAIL'
