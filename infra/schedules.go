package main

import (
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/jsii-runtime-go"
)

// A beat is one schedule.
type beat struct {
	function function
	about    string
	when     string
	flexible int // minutes
	input    string
	retries  int // when Lambda could not be called
	age      int // seconds after which it is not worth calling any more
}

const everyMinute = "cron(* * * * ? *)"

// addSchedules wakes the functions up. A tick is not tried again and not kept:
// the next comes within a minute, and none piles up behind an outage.
func (s *vendorStack) addSchedules() {
	group := awsscheduler.NewCfnScheduleGroup(s.stack, jsii.String("Schedules"), &awsscheduler.CfnScheduleGroupProps{
		Name: jsii.String(s.v.stack(s.env.Prefix)),
	})
	role := s.addSchedulerRole()
	seed, err := parseCron(s.v.Seed.Cron)
	if err != nil {
		panic(err) // it was checked when the file was read
	}
	for _, f := range s.scheduled() {
		b := beat{f, "drains its queue, or leaves at once", seed.window(s.v.WindowHours), 0, "{}", 0, 60}
		switch f.name {
		case "seed":
			b = beat{f, "starts the run", seed.String(), s.v.Seed.FlexibleMinutes, text(map[string]string{"at": "<aws.scheduler.scheduled-time>"}), 3, 3600}
		case "close": // all day long, as a run may last
			b.about, b.when = "looks whether a run is complete", everyMinute
		}
		s.addSchedule(b, role).AddResourceDependency(group, nil)
	}
}

// scheduled are the functions that a clock wakes: all but the lake's, which its
// queues call.
func (s *vendorStack) scheduled() []function {
	return slices.DeleteFunc(slices.Clone(s.functions), func(f function) bool { return f.name == "lake" })
}

func (s *vendorStack) addSchedule(b beat, role awsiam.Role) awsscheduler.CfnSchedule {
	state, window := "ENABLED", &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: jsii.String("OFF")}
	if !s.v.Schedules {
		state = "DISABLED"
	}
	if b.flexible > 0 {
		window = &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: jsii.String("FLEXIBLE"), MaximumWindowInMinutes: jsii.Number(b.flexible)}
	}
	return awsscheduler.NewCfnSchedule(s.part(b.function.name), jsii.String("Schedule"), &awsscheduler.CfnScheduleProps{
		Name:                       jsii.String(s.v.function(s.env.Prefix, b.function.name)),
		GroupName:                  jsii.String(s.v.stack(s.env.Prefix)),
		Description:                jsii.String(b.about),
		State:                      jsii.String(state),
		ScheduleExpression:         jsii.String(b.when),
		ScheduleExpressionTimezone: jsii.String(s.v.zone()),
		FlexibleTimeWindow:         window,
		Target: &awsscheduler.CfnSchedule_TargetProperty{
			Arn: b.function.alias.FunctionArn(), RoleArn: role.RoleArn(), Input: jsii.String(b.input),
			RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{
				MaximumRetryAttempts: jsii.Number(b.retries), MaximumEventAgeInSeconds: jsii.Number(b.age),
			},
		},
	})
}

// addSchedulerRole is what the schedules call by: exactly the live aliases, and
// only on behalf of this vendor's schedules.
func (s *vendorStack) addSchedulerRole() awsiam.Role {
	var targets []*string
	for _, f := range s.scheduled() {
		targets = append(targets, f.alias.FunctionArn())
	}
	doc := awsiam.NewPolicyDocument(nil)
	doc.AddStatements(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Actions: jsii.Strings("lambda:InvokeFunction"), Resources: &targets,
	}))
	by := awsiam.NewServicePrincipal(jsii.String("scheduler.amazonaws.com"), &awsiam.ServicePrincipalOpts{
		Conditions: &map[string]any{"StringEquals": map[string]any{
			"aws:SourceAccount": s.stack.Account(),
			"aws:SourceArn":     s.arn("scheduler", "schedule-group/"+s.v.stack(s.env.Prefix)),
		}},
	})
	return awsiam.NewRole(s.stack, jsii.String("SchedulerRole"), &awsiam.RoleProps{
		AssumedBy: by, Description: jsii.String("what the schedules of " + s.v.name + " may call"),
		InlinePolicies: &map[string]awsiam.PolicyDocument{"rights": doc},
	})
}
