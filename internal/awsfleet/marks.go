package awsfleet

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Mark implements run.Store. Marks are a set of the run's row.
func (s *runs) Mark(ctx context.Context, id, text string) (first bool, err error) {
	_, held, err := s.v.table.update(ctx, runKey(id), expr{
		set:  "ADD #marks :set",
		only: "attribute_exists(#doc) AND NOT contains(#marks, :mark)",
		vals: row{":set": &types.AttributeValueMemberSS{Value: []string{text}}, ":mark": str(text)},
	}, types.ReturnValueNone)
	if err != nil || held {
		return held, wrap(err, "noting something about run %s", id)
	}
	_, err = s.Get(ctx, id) // it has the mark, or is not there
	return false, err
}
