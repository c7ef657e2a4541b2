package owner

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	suffixLength = 5
	maxName      = 63
	nameAttempts = 8
)

// Create makes a pod for the owner, notes it, and fills it with what was stored. The end of a generated name
// is chosen here rather than by the server, so that a pod whose create was not answered can be looked up.
func (p *Pending) Create(ctx context.Context, c client.Client, owner types.NamespacedName, pod *corev1.Pod) error {
	generated := pod.Name == "" && pod.GenerateName != ""
	for attempt := 1; ; attempt++ {
		if generated {
			pod.Name = pod.GenerateName[:min(len(pod.GenerateName), maxName-suffixLength)] + utilrand.String(suffixLength)
		}
		err := c.Create(ctx, pod)
		switch {
		case err == nil:
			p.Created(owner, pod)
		case generated && apierrors.IsAlreadyExists(err) && attempt < nameAttempts:
			continue
		case !Refused(err):
			p.created(owner, pod.Name, "")
		}
		return err
	}
}

// Delete deletes that very pod and notes it. That it is gone already, and perhaps replaced by another of its
// name, is told by the error, which is NotFound or Conflict then.
func (p *Pending) Delete(ctx context.Context, c client.Client, owner types.NamespacedName, pod *corev1.Pod) error {
	err := c.Delete(ctx, pod.DeepCopy(), client.Preconditions{UID: &pod.UID})
	switch {
	case err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		p.Deleted(owner, pod.UID)
	case !Refused(err):
		p.doubted(owner, pod)
	}
	return err
}

// Refused tells that an error of a write is the server's word that nothing was written. All others leave
// open whether it was.
func Refused(err error) bool {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && !apierrors.IsTimeout(err)
}
