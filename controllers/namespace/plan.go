package namespace

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
)

// remains are the objects of one kind that are still there.
type remains struct {
	resource   string
	count      int
	finalizers map[string]int
}

func remainsOf(resource string, items []metav1.PartialObjectMetadata) remains {
	r := remains{resource: resource, count: len(items), finalizers: map[string]int{}}
	for i := range items {
		for _, f := range items[i].Finalizers {
			r.finalizers[f]++
		}
	}
	return r
}

// outcome is what came of emptying a namespace: what is left, why not all kinds are known, and what could not be deleted.
type outcome struct {
	left                 []remains
	undiscovered, failed error
}

// setConditions says what keeps the namespace, in the words of Kubernetes; false when that was said.
func setConditions(s *corev1.NamespaceStatus, o outcome, now time.Time) bool {
	var resources, finalizers []string
	held := map[string]int{}
	for _, r := range o.left {
		resources = append(resources, fmt.Sprintf("%s has %d resource instances", r.resource, r.count))
		for f, n := range r.finalizers {
			held[f] += n
		}
	}
	for _, f := range slices.Sorted(maps.Keys(held)) {
		finalizers = append(finalizers, fmt.Sprintf("%s in %d resource instances", f, held[f]))
	}
	slices.Sort(resources)
	changed := false
	set := func(t corev1.NamespaceConditionType, yes bool, reason, message string) {
		c := corev1.NamespaceCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now)}
		if yes {
			c.Status = corev1.ConditionTrue
		}
		changed = put(s, c) || changed
	}
	if o.undiscovered != nil {
		set(corev1.NamespaceDeletionDiscoveryFailure, true, "DiscoveryFailed", discoveryMessage(o.undiscovered))
	} else {
		set(corev1.NamespaceDeletionDiscoveryFailure, false, "ResourcesDiscovered", "All resources successfully discovered")
	}
	set(corev1.NamespaceDeletionGVParsingFailure, false, "ParsedGroupVersions", "All legacy kube types successfully parsed")
	if o.failed != nil {
		set(corev1.NamespaceDeletionContentFailure, true, "ContentDeletionFailed", "Failed to delete all resource types, "+o.failed.Error())
	} else {
		set(corev1.NamespaceDeletionContentFailure, false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization")
	}
	if len(resources) > 0 {
		set(corev1.NamespaceContentRemaining, true, "SomeResourcesRemain", "Some resources are remaining: "+strings.Join(resources, ", "))
	} else {
		set(corev1.NamespaceContentRemaining, false, "ContentRemoved", "All content successfully removed")
	}
	if len(finalizers) > 0 {
		set(corev1.NamespaceFinalizersRemaining, true, "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+strings.Join(finalizers, ", "))
	} else {
		set(corev1.NamespaceFinalizersRemaining, false, "ContentHasNoFinalizers", "All content-preserving finalizers finished")
	}
	return changed
}

func discoveryMessage(err error) string {
	var groups *discovery.ErrGroupDiscoveryFailed
	if errors.As(err, &groups) {
		return fmt.Sprintf("Discovery failed for some groups, %d failing: %v", len(groups.Groups), err)
	}
	return err.Error()
}

func put(s *corev1.NamespaceStatus, c corev1.NamespaceCondition) bool {
	for i := range s.Conditions {
		have := &s.Conditions[i]
		if have.Type != c.Type {
			continue
		}
		if have.Status == c.Status {
			c.LastTransitionTime = have.LastTransitionTime
		}
		if *have == c {
			return false
		}
		*have = c
		return true
	}
	s.Conditions = append(s.Conditions, c)
	return true
}
