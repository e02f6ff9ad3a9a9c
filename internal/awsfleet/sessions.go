package awsfleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// sessionLease is how long one process may take to log in before another tries:
// longer than a call's usual timeouts.
const sessionLease = 90 * time.Second

var sessionLock = key{"session", "lock"}

// Session lets f see what the fleet keeps of the vendor's session, and keeps what f
// returns: encrypted, as a SecureString in Parameter Store. A row of the vendor's
// table lets one process at a time do so.
func (s Secrets) Session(ctx context.Context, vendor string, f func(ctx context.Context, kept []byte) (keep []byte, err error)) error {
	if err := s.v.mine(vendor); err != nil {
		return err
	}
	name := s.v.stack.Session
	if name == "" {
		return fmt.Errorf("stack %s does not say where its session is kept: deploy it with the vendor's present spec", vendor)
	}
	unlock, err := s.lockSession(ctx)
	if err != nil {
		return wrap(err, "waiting for another process to log in to %s", vendor)
	}
	defer unlock()
	kept, err := s.session(ctx, name)
	if err != nil {
		return err
	}
	keep, err := f(ctx, kept)
	if err != nil || keep == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	_, err = s.v.cloud.ssm.PutParameter(ctx, &ssm.PutParameterInput{
		Name: &name, Value: aws.String(string(keep)), Type: ssmtypes.ParameterTypeSecureString, Overwrite: aws.Bool(true),
		Tier: ssmtypes.ParameterTierIntelligentTiering, // a token may be longer than 4 KiB
	})
	return wrap(explain(err, "parameter "+name), "keeping the session of vendor %s", vendor)
}

// session is what is kept, or nil.
func (s Secrets) session(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	out, err := s.v.cloud.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	var none *ssmtypes.ParameterNotFound
	switch {
	case errors.As(err, &none):
		return nil, nil
	case err != nil:
		return nil, wrap(explain(err, "parameter "+name), "reading the session of vendor %s", s.v.stack.Vendor)
	case out.Parameter == nil:
		return nil, nil
	}
	return []byte(aws.ToString(out.Parameter.Value)), nil
}

// lockSession waits until no other process logs in.
func (s Secrets) lockSession(ctx context.Context) (unlock func(), err error) {
	owner := rand.Text()[:12]
	for {
		now := time.Now()
		r := sessionLock.row()
		r["owner"], r["expires"] = str(owner), num(now.Add(sessionLease).UnixNano())
		ok, err := s.v.table.put(ctx, r, expr{only: "attribute_not_exists(#pk) OR #expires <= :now", vals: row{":now": num(now.UnixNano())}})
		if err != nil {
			return nil, err
		}
		if ok {
			return func() {
				// Whatever became of ctx: others wait.
				_, err := s.v.table.remove(context.WithoutCancel(ctx), sessionLock, expr{only: "#owner = :owner", vals: row{":owner": str(owner)}})
				if err != nil {
					s.v.cloud.log.Warn("the lock on the vendor's session is kept until it ends", "vendor", s.v.stack.Vendor, "err", err)
				}
			}, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(200*time.Millisecond + mrand.N(300*time.Millisecond)):
		}
	}
}
