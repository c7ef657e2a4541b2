package api

import "k8s.io/apiserver/pkg/authentication/user"

// Request tells who asks for what. Parts that run in the server's process use it in place of a URL.
type Request struct {
	User                         user.Info
	Resource                     *Resource
	Namespace, Name, Subresource string
	// Manager is the field manager that a write is recorded under.
	Manager string
	DryRun  bool
	// Applied tells that managedFields are right already, because the write is a server-side apply.
	Applied bool
	// Warn receives the sentences for Warning headers; nil drops them.
	Warn func(text string)
}

// Key is where the object of the request is stored.
func (q *Request) Key() string { return q.Resource.Key(q.Namespace, q.Name) }
