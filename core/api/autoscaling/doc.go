// Package autoscaling declares HorizontalPodAutoscaler: what the server, the printer and the store know of it. It is stored
// as autoscaling/v2 and served as autoscaling/v1 as well.
package autoscaling
