// Package vendorapi turns a vendor's spec, one YAML file, into a typed plan,
// and makes the plan's vendor calls over HTTP.
//
// The one idea: a spec says what to ask for at every tier of the vendor's tree
// and how to read the answer; everything else (queues, retries, limits,
// landing) is somebody else's. A [Client] therefore makes one request per call (or
// more, each under a permit that it asks for), judges the answer, and takes it
// apart into children and rows.
//
//	Load, Parse   file -> Spec     strict: every mistake has a file, line and column
//	Spec.Bind     Spec -> Plan     with the operator's settings
//	NewClient     Plan -> Client   with the secrets; implements fanout.Vendor
//	Plan.Rows     raw answer -> rows, at any later time
//
// The package reads limits and hands them out as plain values; who keeps them
// is up to the caller, who holds a permit for each call.
package vendorapi
