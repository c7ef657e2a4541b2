// Package fairness keeps those who send too many requests from harming the others. The API's FlowSchemas tell which priority level
// and which flow a request belongs to; its PriorityLevelConfigurations share out how many requests are executed at a time.
// It is what Kubernetes calls API Priority and Fairness (KEP-1040).
//
// Within a level, flows are spread over queues by shuffle sharding, and the queues take turns by start-time fair queuing as it is for
// many servers at once (Jin, Chase and Kaur, "Interposed Proportional Sharing for a Storage Service Utility", 2004). A level
// may borrow what others do not use at the moment, and they get it back as soon as requests end.
package fairness
