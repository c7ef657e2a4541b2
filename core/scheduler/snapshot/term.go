package snapshot

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TermKind tells what an affinity term of a pod means.
type TermKind byte

// The kinds of terms. An anti-affinity term that is only preferred is a Preferred one of negative weight.
const (
	RequiredAffinity TermKind = iota
	RequiredAntiAffinity
	Preferred
)

// Term is one term of inter-pod affinity or anti-affinity, parsed. Equal terms of placed pods are one.
type Term struct {
	Kind   TermKind
	Weight int64 // of a preferred one
	// Key is the label of nodes whose values are the domains.
	Key        string
	namespaces []string
	// anywhere selects further namespaces by their labels, nil for none.
	anywhere labels.Selector
	selector labels.Selector
	text     string
	refs     int
}

// Matches tells whether the term is about pods of the namespace with the labels.
func (t *Term) Matches(namespace string, set, namespaceLabels labels.Set) bool {
	if !slices.Contains(t.namespaces, namespace) && (t.anywhere == nil || !t.anywhere.Matches(namespaceLabels)) {
		return false
	}
	return t.selector.Matches(set)
}

// keys are the labels of pods that decide what the term matches.
func keysOf(s labels.Selector, add func(string)) {
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		add(r.Key())
	}
}

func newTerm(kind TermKind, weight int64, namespace string, t *corev1.PodAffinityTerm) (*Term, error) {
	out := &Term{Kind: kind, Weight: weight, Key: t.TopologyKey, namespaces: slices.Sorted(slices.Values(t.Namespaces))}
	var err error
	if out.selector, err = metav1.LabelSelectorAsSelector(t.LabelSelector); err != nil {
		return nil, fmt.Errorf("parse an affinity term's labelSelector: %w", err)
	}
	if t.NamespaceSelector != nil {
		if out.anywhere, err = metav1.LabelSelectorAsSelector(t.NamespaceSelector); err != nil {
			return nil, fmt.Errorf("parse an affinity term's namespaceSelector: %w", err)
		}
	} else if len(out.namespaces) == 0 {
		out.namespaces = []string{namespace}
	}
	anywhere := "-"
	if out.anywhere != nil {
		anywhere = "+" + out.anywhere.String()
	}
	selector := out.selector.String()
	if out.selector.Empty() {
		selector = "+" // everything, where Nothing is printed as "" too
	}
	out.text = fmt.Sprintf("%d %d %s|%s|%s|%s", kind, weight, out.Key, strings.Join(out.namespaces, ","), anywhere, selector)
	return out, nil
}

// termsOf parses all terms of a pod.
func termsOf(pod *corev1.Pod) ([]*Term, error) {
	a := pod.Spec.Affinity
	if a == nil || a.PodAffinity == nil && a.PodAntiAffinity == nil {
		return nil, nil
	}
	var out []*Term
	var failed error
	add := func(kind TermKind, weight int64, t *corev1.PodAffinityTerm) {
		term, err := newTerm(kind, weight, pod.Namespace, t)
		if err != nil {
			failed = err
			return
		}
		out = append(out, term)
	}
	if p := a.PodAffinity; p != nil {
		for i := range p.RequiredDuringSchedulingIgnoredDuringExecution {
			add(RequiredAffinity, 0, &p.RequiredDuringSchedulingIgnoredDuringExecution[i])
		}
		for i := range p.PreferredDuringSchedulingIgnoredDuringExecution {
			t := &p.PreferredDuringSchedulingIgnoredDuringExecution[i]
			add(Preferred, int64(t.Weight), &t.PodAffinityTerm)
		}
	}
	if p := a.PodAntiAffinity; p != nil {
		for i := range p.RequiredDuringSchedulingIgnoredDuringExecution {
			add(RequiredAntiAffinity, 0, &p.RequiredDuringSchedulingIgnoredDuringExecution[i])
		}
		for i := range p.PreferredDuringSchedulingIgnoredDuringExecution {
			t := &p.PreferredDuringSchedulingIgnoredDuringExecution[i]
			add(Preferred, -int64(t.Weight), &t.PodAffinityTerm)
		}
	}
	return out, failed
}

// Shape is what other pods' affinity and spreading see of a placed pod. Pods of one shape share it.
type Shape struct {
	Namespace string
	Labels    labels.Set
	// Terminating pods do not count for spreading.
	Terminating bool
	Terms       []*Term
	text        string
	refs        int
}

func shapeText(namespace string, set labels.Set, terminating bool, terms []*Term) string {
	var b strings.Builder
	b.WriteString(namespace)
	if terminating {
		b.WriteByte('!')
	}
	writeLabels(&b, set)
	for _, t := range terms {
		b.WriteByte(0)
		b.WriteString(t.text)
	}
	return b.String()
}

func writeLabels(b *strings.Builder, set map[string]string) {
	var few [8]string
	keys := few[:0]
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b.WriteByte(0)
		b.WriteString(k)
		b.WriteByte('=')
		b.WriteString(set[k])
	}
}

// shape finds or makes the shape and takes a reference.
func (c *Cluster) shape(namespace string, set labels.Set, terminating bool, terms []*Term) *Shape {
	text := shapeText(namespace, set, terminating, terms)
	s := c.shapes[text]
	if s == nil {
		s = &Shape{Namespace: namespace, Labels: set, Terminating: terminating, text: text}
		for _, t := range terms {
			s.Terms = append(s.Terms, c.intern(t))
		}
		c.shapes[text] = s
	}
	s.refs++
	return s
}

func (c *Cluster) intern(t *Term) *Term {
	have := c.terms[t.text]
	if have == nil {
		own := *t
		have, own.refs = &own, 0
		c.terms[t.text] = have
		c.TermsVersion++
		keysOf(have.selector, c.selectKey)
		if have.anywhere != nil {
			c.namespacesMatter = true
		}
	}
	have.refs++
	return have
}

// selectKey notes that somebody looks at a label of pods.
func (c *Cluster) selectKey(key string) {
	if !c.selected[key] {
		c.selected[key] = true
		c.KeysVersion++
	}
}

func (c *Cluster) release(s *Shape) {
	if s.refs--; s.refs > 0 {
		return
	}
	delete(c.shapes, s.text)
	for _, t := range s.Terms {
		if t.refs--; t.refs == 0 {
			delete(c.terms, t.text)
		}
	}
}

// Terms calls f with every term that a placed pod has.
func (c *Cluster) Terms(f func(*Term)) {
	for _, t := range c.terms {
		f(t)
	}
}
