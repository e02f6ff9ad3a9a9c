package functions

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"
)

// Start serves the invocations of one function until Lambda ends the process.
// The end of ctx asks the invocation at work to end softly.
func Start[Event, Answer any](ctx context.Context, f *Function, handle func(*Function, context.Context, Event) (Answer, error)) {
	lambda.StartWithOptions(func(ctx context.Context, ev Event) (Answer, error) { return handle(f, ctx, ev) }, lambda.WithContext(ctx))
}
