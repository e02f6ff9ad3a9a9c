// Package stacktest runs what was synthesized: it takes a template as it would be
// deployed, makes its queues, table, bucket and parameter on stand-in servers,
// starts the real programs of its functions with exactly the environment that the
// template gives them, and fires its schedules.
package stacktest
