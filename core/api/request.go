package api

import "k8s.io/apiserver/pkg/authentication/user"

// Request tells who asks for what. Parts that run in the server's process use it in place of a URL.
type Request struct {
	User user.Info
	// Resource is the kind in its stored version, in which objects are given and returned.
	Resource *Resource
	// Version is the version that the client speaks where that is another one: in it patches are meant and field
	// ownership is recorded.
	Version                      *Resource
	Namespace, Name, Subresource string
	// Verb is that of a request over HTTP, as permissions name it; empty in the process.
	Verb string
	// Manager is the field manager that a write is recorded under.
	Manager string
	DryRun  bool
	// Generated tells that the server has made up the name, because the request gave nothing but its beginning.
	Generated bool
	// AskedManager and AskedValidation are the field manager and the field validation that the client named, if it did.
	AskedManager, AskedValidation string
	// Admitted tells that this write carries out a subresource about which external admission has been asked already.
	Admitted bool
	// Applied tells that managedFields are right already, because the write is a server-side apply.
	Applied bool
	// SharesBody tells that the object that is written has all but its metadata from the one that it replaces; see [Kind.SharesBody].
	SharesBody bool
	// Warn receives the sentences for Warning headers; nil drops them.
	Warn func(text string)
}

// Key is where the object of the request is stored.
func (q *Request) Key() string { return q.Resource.Key(q.Namespace, q.Name) }

// Spoken is the kind in the version that the client speaks.
func (q *Request) Spoken() *Resource {
	if q.Version != nil {
		return q.Version
	}
	return q.Resource
}
