package fairness

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Request is what is known of a request before it is executed.
type Request struct {
	User user.Info
	// Verb is the API's, or the method in lower case where there is no resource.
	Verb string
	// Path is for requests without a resource; for others it is empty.
	Path                                    string
	Group, Resource, Subresource, Namespace string
	// Objects is how many objects are read, for lists and what is like them.
	Objects int
	// Crowded requests are refused, unless they are exempt.
	Crowded bool
}

// mutating tells that a request is counted as one that writes.
func (r *Request) mutating() bool {
	switch r.Verb {
	case "get", "list", "watch", "proxy", "head":
		return false
	}
	return true
}

// schema is a FlowSchema as it is matched.
type schema struct {
	name        string
	seed        maphash.Seed
	byUser      bool
	byNamespace bool
	rules       []rule
	level       *level
	headers     Headers
	counts      *counts
}

type rule struct {
	users, groups, accounts, namespaces []string // accounts are whole user names, namespaces what comes before a name
	resources                           []resourceRule
	paths                               []pathRule
}

// list is nil when everything is in it.
type list []string

func (l list) has(s string) bool { return l == nil || slices.Contains(l, s) }

func listOf(words []string) list {
	if len(words) == 1 && words[0] == "*" {
		return nil
	}
	return append(list{}, words...)
}

type resourceRule struct {
	verbs, groups, namespaces list
	resources                 []resourceName // nil for all
	cluster                   bool
}

type resourceName struct{ resource, subresource string }

type pathRule struct {
	verbs list
	all   bool
	paths []path
}

// path matches what equals exact or begins with prefix.
type path struct{ exact, prefix string }

func compileRules(s *flowcontrolv1.FlowSchema) []rule {
	out := make([]rule, 0, len(s.Spec.Rules))
	for i := range s.Spec.Rules {
		from := &s.Spec.Rules[i]
		var r rule
		for j := range from.Subjects {
			r.addSubject(&from.Subjects[j])
		}
		for _, x := range from.ResourceRules {
			c := resourceRule{verbs: listOf(x.Verbs), groups: listOf(x.APIGroups), namespaces: listOf(x.Namespaces), cluster: x.ClusterScope}
			if listOf(x.Resources) != nil {
				c.resources = []resourceName{}
				for _, name := range x.Resources {
					resource, sub, _ := strings.Cut(name, "/")
					c.resources = append(c.resources, resourceName{resource, sub})
				}
			}
			r.resources = append(r.resources, c)
		}
		for _, x := range from.NonResourceRules {
			c := pathRule{verbs: listOf(x.Verbs)}
			for _, p := range x.NonResourceURLs {
				c.all = c.all || p == flowcontrolv1.NonResourceAll
				c.paths = append(c.paths, path{p, strings.TrimSuffix(strings.TrimSuffix(p, "*"), "/") + "/"})
			}
			r.paths = append(r.paths, c)
		}
		out = append(out, r)
	}
	return out
}

func (r *rule) addSubject(s *flowcontrolv1.Subject) {
	switch {
	case s.User != nil:
		r.users = append(r.users, s.User.Name)
	case s.Group != nil:
		r.groups = append(r.groups, s.Group.Name)
	case s.ServiceAccount != nil && s.ServiceAccount.Name == flowcontrolv1.NameAll:
		r.namespaces = append(r.namespaces, serviceaccount.ServiceAccountUsernamePrefix+s.ServiceAccount.Namespace+serviceaccount.ServiceAccountUsernameSeparator)
	case s.ServiceAccount != nil:
		r.accounts = append(r.accounts, serviceaccount.MakeUsername(s.ServiceAccount.Namespace, s.ServiceAccount.Name))
	}
}

func (s *schema) matches(r *Request, name string, groups []string) bool {
	for i := range s.rules {
		if x := &s.rules[i]; x.concerns(name, groups) && x.covers(r) {
			return true
		}
	}
	return false
}

func (x *rule) concerns(name string, groups []string) bool {
	for _, g := range x.groups {
		if g == flowcontrolv1.NameAll || slices.Contains(groups, g) {
			return true
		}
	}
	for _, u := range x.users {
		if u == flowcontrolv1.NameAll || u == name {
			return true
		}
	}
	for _, prefix := range x.namespaces {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains(x.accounts, name)
}

func (x *rule) covers(r *Request) bool {
	if r.Path != "" {
		return slices.ContainsFunc(x.paths, func(p pathRule) bool { return p.covers(r) })
	}
	for i := range x.resources {
		if x.resources[i].covers(r) {
			return true
		}
	}
	return false
}

func (x *resourceRule) covers(r *Request) bool {
	if r.Namespace == "" && !x.cluster || r.Namespace != "" && !x.namespaces.has(r.Namespace) {
		return false
	}
	return x.verbs.has(r.Verb) && x.groups.has(r.Group) &&
		(x.resources == nil || slices.Contains(x.resources, resourceName{r.Resource, r.Subresource}))
}

func (x *pathRule) covers(r *Request) bool {
	return x.verbs.has(r.Verb) && (x.all || slices.ContainsFunc(x.paths, func(p path) bool {
		return r.Path == p.exact || strings.HasPrefix(r.Path, p.prefix)
	}))
}

// flow is a number for who is to be treated alike among the schema's requests.
func (s *schema) flow(r *Request) uint64 {
	switch {
	case s.byUser:
		return maphash.String(s.seed, r.User.GetName())
	case s.byNamespace:
		return maphash.String(s.seed, r.Namespace)
	}
	return maphash.String(s.seed, "")
}

// classify finds the first schema that matches, and the last one, "catch-all", when none does.
func classify(schemas []*schema, r *Request) *schema {
	name, groups := r.User.GetName(), r.User.GetGroups()
	for _, s := range schemas {
		if s.matches(r, name, groups) {
			return s
		}
	}
	return schemas[len(schemas)-1]
}

// byPrecedence orders schemas as they are asked; "catch-all" is the last in any case.
func byPrecedence(a, b *flowcontrolv1.FlowSchema) int {
	last := func(s *flowcontrolv1.FlowSchema) int {
		if s.Name == flowcontrolv1.FlowSchemaNameCatchAll {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(a.Spec.MatchingPrecedence, b.Spec.MatchingPrecedence), strings.Compare(a.Name, b.Name))
}
