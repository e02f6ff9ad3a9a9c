// Command infra is the CDK app: from the environment file and the vendors'
// specs it makes one CloudFormation stack for each vendor, and one that they
// share.
//
//	go -C infra run .        templates into infra/cdk.out, offline
//
// Nothing about an operator's account is written in Go: every choice is a key
// of the environment file (see environment.go), every fact about a vendor
// comes from its spec.
//
// Variables:
//
//	SLUICE_ENVIRONMENT  the environment file; default environment.yaml
//	SLUICE_VENDOR       only this vendor's stack, and the shared one (as -c vendor=NAME)
//	SLUICE_BOOTSTRAPS   a directory with seed/bootstrap, tier/bootstrap,
//	                    close/bootstrap and lake/bootstrap, built already;
//	                    default: they are built into ../dist/functions
//	SLUICE_GOARCH       what the functions run on: arm64 (default) or amd64
package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

func main() {
	if err := synth(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// synth writes the templates.
func synth() error {
	env, err := loadEnvironment(cmp.Or(os.Getenv("SLUICE_ENVIRONMENT"), "environment.yaml"))
	if err != nil {
		return err
	}
	built, err := findBootstraps(os.Getenv("SLUICE_BOOTSTRAPS"), cmp.Or(os.Getenv("SLUICE_GOARCH"), "arm64"))
	if err != nil {
		return err
	}
	app := newApp(os.Getenv("CDK_OUTDIR")) // the cdk command says where
	only := os.Getenv("SLUICE_VENDOR")
	if said, ok := app.Node().TryGetContext(jsii.String("vendor")).(string); ok {
		only = said
	}
	if err := addStacks(app, env, built, only); err != nil {
		return err
	}
	app.Synth(nil)
	return nil
}

// newApp is an empty app that writes to a directory.
func newApp(out string) awscdk.App {
	return awscdk.NewApp(&awscdk.AppProps{
		Outdir:             jsii.String(cmp.Or(out, "cdk.out")),
		AnalyticsReporting: jsii.Bool(false),
		TreeMetadata:       jsii.Bool(false),
	})
}

// addStacks adds the shared stack and the vendors': all, or only one.
func addStacks(app awscdk.App, env *environment, built bootstraps, only string) error {
	if _, ok := env.Vendors[only]; only != "" && !ok {
		return fmt.Errorf("%s has no section vendors.%s; it has: %s", env.file, only, names(env.Vendors))
	}
	shared := addShared(app, env)
	for _, name := range sortedKeys(env.Vendors) {
		if only != "" && name != only {
			continue
		}
		v := env.Vendors[name]
		assets, err := built.assets(v)
		if err != nil {
			return fmt.Errorf("vendor %s: %w", name, err)
		}
		addVendor(app, env, v, built, assets).AddStackDependency(shared, jsii.String("its alarms go to the shared topic"))
	}
	audit(app)
	return nil
}
