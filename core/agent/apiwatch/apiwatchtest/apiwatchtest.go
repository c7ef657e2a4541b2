// Package apiwatchtest tells tests that have a fake client when it is watched. Such a client's watch begins when it is asked for and not where
// the list before it ended, so that what is written in between is never seen.
package apiwatchtest

import (
	"context"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Begun is the Watch of a client that sends to begun after each watch has begun, if concerned, which may be nil, says so of what is watched.
func Begun(begun chan<- struct{}, concerned func(client.ObjectList, *client.ListOptions) bool) interceptor.Funcs {
	return interceptor.Funcs{Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
		w, err := c.Watch(ctx, list, opts...)
		if concerned == nil || concerned(list, (&client.ListOptions{}).ApplyOptions(opts)) {
			begun <- struct{}{}
		}
		return w, err
	}}
}
