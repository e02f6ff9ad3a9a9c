// Package vendorsim is a vendor for the demo and the tests: four tiers of
// deterministic content at any scale, bearer authentication, limits that it
// enforces and counts, and troubles that it can be told to have while it runs.
//
//	GET /v1/groups                                        -> {"items": [{"id", "name"}], "total"}
//	GET /v1/groups/{group}/devices                        -> the same
//	GET /v1/devices/{device}/datagroups                   -> {"data": [{"id", "kind"}], "next": null}
//	GET /v1/devices/{device}/datagroups/{datagroup}/data  -> {"points": [...], "times": [...], "values": [[...]]}
//
// It is strict on purpose: identifiers are hard to escape, numbers are beyond
// 2^53, and a call over the limit is refused, not smoothed. It is never the
// only judge: other tests use real servers.
package vendorsim
