package main

import "strings"

const lowScore = "needs CAP_SYS_RESOURCE on the machine, for a lower OOM score of restarted containers"

// reasons say of tests why they cannot pass yet: they need something that is not there, and are no verdict on what is.
var reasons = []struct{ name, why string }{
	{"Daemon set [Serial] should rollback without unnecessary restarts", "needs a second node"},
	{"guaranteed qos - 1 container with resize policy cpu & mem restart", lowScore},
	{"guaranteed qos - 1 container with resize policy cpu restart", lowScore},
	{"guaranteed qos - 1 container with resize policy mem restart", lowScore},
	{"guaranteed qos - 1 container with resize policy [Feature:InPlacePodVerticalScaling] cpu & mem restart", lowScore},
	{"guaranteed qos - 1 container with resize policy [Feature:InPlacePodVerticalScaling] cpu restart", lowScore},
	{"guaranteed qos - 1 container with resize policy [Feature:InPlacePodVerticalScaling] mem restart", lowScore},
	{"PrivilegedPod [NodeConformance] should enable privileged commands", "needs a kernel with dummy interfaces"},
}

func reason(test string) string {
	for _, r := range reasons {
		if strings.Contains(test, r.name) {
			return r.why
		}
	}
	return ""
}
