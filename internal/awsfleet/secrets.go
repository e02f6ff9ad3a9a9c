package awsfleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// Secrets reads the vendor's secrets where the stack says that they are. It
// keeps none: it is asked when a client is made, and again on a 401.
type Secrets struct{ v *Vendor }

// Secrets gives the vendor's secrets.
func (v *Vendor) Secrets() Secrets { return Secrets{v} }

// secretPlace takes the place of a secret apart: "ssm:NAME" or
// "secretsmanager:NAME".
func secretPlace(place string) (store, name string, err error) {
	store, name, _ = strings.Cut(place, ":")
	if store != "ssm" && store != "secretsmanager" || name == "" {
		return "", "", fmt.Errorf("%q is no place of a secret: it is ssm:NAME or secretsmanager:NAME", place)
	}
	return store, name, nil
}

// Secret reads one secret.
func (s Secrets) Secret(vendor, name string) (string, error) {
	if err := s.v.mine(vendor); err != nil {
		return "", err
	}
	place, ok := s.v.stack.Secrets[name]
	if !ok {
		return "", fmt.Errorf("stack %s does not say where secret %q is: deploy it with the vendor's present spec", vendor, name)
	}
	store, at, err := secretPlace(place)
	if err != nil {
		return "", fmt.Errorf("secret %q of stack %s: %w", name, vendor, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), operationTime)
	defer cancel()
	if store == "ssm" {
		return s.parameter(ctx, name, at)
	}
	return s.managed(ctx, name, at)
}

func (s Secrets) parameter(ctx context.Context, secret, name string) (string, error) {
	out, err := s.v.cloud.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	remedy := fmt.Sprintf("aws ssm put-parameter --region %s --type SecureString --name %s --value ...", s.v.cloud.region, name)
	var none *ssmtypes.ParameterNotFound
	switch {
	case errors.As(err, &none):
		return "", fmt.Errorf("secret %q of vendor %s is missing: there is no parameter %s (%s)", secret, s.v.stack.Vendor, name, remedy)
	case err != nil:
		return "", wrap(explain(err, "parameter "+name), "reading secret %q of vendor %s", secret, s.v.stack.Vendor)
	case out.Parameter == nil || aws.ToString(out.Parameter.Value) == "":
		return "", fmt.Errorf("secret %q of vendor %s: parameter %s is empty (%s --overwrite)", secret, s.v.stack.Vendor, name, remedy)
	}
	return *out.Parameter.Value, nil
}

func (s Secrets) managed(ctx context.Context, secret, name string) (string, error) {
	out, err := s.v.cloud.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
	remedy := fmt.Sprintf("aws secretsmanager create-secret --region %s --name %s --secret-string ...", s.v.cloud.region, name)
	var none *smtypes.ResourceNotFoundException
	switch {
	case errors.As(err, &none):
		return "", fmt.Errorf("secret %q of vendor %s is missing: Secrets Manager has no %s (%s)", secret, s.v.stack.Vendor, name, remedy)
	case err != nil:
		return "", wrap(explain(err, "secret "+name), "reading secret %q of vendor %s", secret, s.v.stack.Vendor)
	case aws.ToString(out.SecretString) == "":
		return "", fmt.Errorf("secret %q of vendor %s: %s in Secrets Manager has no text", secret, s.v.stack.Vendor, name)
	}
	return *out.SecretString, nil
}
