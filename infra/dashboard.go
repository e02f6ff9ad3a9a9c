package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"
)

// A graph is one of the dashboard's.
type graph struct {
	title   string
	stat    string
	seconds int
	lines   []line
}

// A line is one metric in a graph; right says on which axis.
type line struct {
	metric
	label string
	right bool
}

// addDashboard shows a vendor's day: first what waits, tier by tier.
func (s *vendorStack) addDashboard() {
	depth := graph{title: "Waiting and held, by tier", stat: "Maximum", seconds: 60}
	dead := graph{title: "Dead letters, by tier", stat: "Maximum", seconds: 300}
	age := graph{title: "Age of the oldest task, by tier (seconds)", stat: "Maximum", seconds: 300}
	for _, t := range s.v.tiers() {
		queue := func(metricName, queue, label string) line {
			return line{metric: metric{"AWS/SQS", metricName, "QueueName", queue}, label: label}
		}
		name, deadName := s.v.queue(s.env.Prefix, t), s.v.deadQueue(s.env.Prefix, t)
		depth.lines = append(depth.lines,
			queue("ApproximateNumberOfMessagesVisible", name, t),
			queue("ApproximateNumberOfMessagesNotVisible", name, t+" (held)"))
		dead.lines = append(dead.lines, queue("ApproximateNumberOfMessagesVisible", deadName, t))
		age.lines = append(age.lines, queue("ApproximateAgeOfOldestMessage", name, t))
	}
	own := func(name, label string, right bool) line {
		return line{metric{"Sluice", name, "Vendor", s.v.name}, label, right}
	}
	calls := graph{title: "Calls against the limit", stat: "Sum", seconds: 60, lines: []line{
		own("Calls", "calls a minute", false), own("Throttled", "throttled", false), own("LimitUsed", "share of the limit (%)", true),
	}}
	var widgets []any
	for i, g := range []graph{depth, calls, dead, age} {
		widgets = append(widgets, g.widget(*s.stack.Region(), i))
	}
	awscloudwatch.NewCfnDashboard(s.stack, jsii.String("Dashboard"), &awscloudwatch.CfnDashboardProps{
		DashboardName: jsii.String(s.v.stack(s.env.Prefix)),
		DashboardBody: jsii.String(text(map[string]any{"widgets": widgets})),
	})
}

// widget is the graph at its place: two in a row, the first one over both.
func (g graph) widget(region string, place int) any {
	var metrics []any
	for _, l := range g.lines {
		options := map[string]any{"label": l.label}
		if l.right {
			options["yAxis"], options["stat"] = "right", "Maximum"
		}
		metrics = append(metrics, []any{l.namespace, l.name, l.dimension, l.value, options})
	}
	x, y, width := 0, 0, 24
	if place > 0 {
		x, y, width = (place-1)%3*8, 7, 8
	}
	return map[string]any{
		"type": "metric", "x": x, "y": y, "width": width, "height": 7,
		"properties": map[string]any{
			"title": g.title, "view": "timeSeries", "region": region, "stat": g.stat, "period": g.seconds, "metrics": metrics,
			"yAxis": map[string]any{"left": map[string]any{"min": 0}},
		},
	}
}
