package job

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pending remembers what this process wrote until reads show it, so that a cache that lags can neither
// double a pod nor count it twice. With reads that see all acknowledged writes it is empty but for moments.
type pending struct {
	mu   sync.Mutex
	jobs map[types.NamespacedName]*writes
}

// writes are those to one job and its pods.
type writes struct {
	uid types.UID
	// version is the oldest of the job that shows its last status.
	version uint64
	// unsure says that the answer to a status write was lost.
	unsure bool
	// created are pods by name; an empty UID says that the answer to the create was lost.
	created map[string]types.UID
	// patched are the oldest versions of pods that show what was written to them; deleted ones are marked.
	patched map[types.UID]uint64
	deleted map[types.UID]bool
	// doubted are names of pods that were written to without an answer.
	doubted map[types.UID]string
}

// of returns the writes to a job, which must not be those to an earlier job of its name.
func (p *pending) of(job *batchv1.Job) *writes {
	key := client.ObjectKeyFromObject(job)
	if p.jobs == nil {
		p.jobs = map[types.NamespacedName]*writes{}
	}
	if w := p.jobs[key]; w == nil || w.uid != job.UID {
		p.jobs[key] = &writes{uid: job.UID, created: map[string]types.UID{}, patched: map[types.UID]uint64{}, deleted: map[types.UID]bool{}, doubted: map[types.UID]string{}}
	}
	return p.jobs[key]
}

func (p *pending) note(job *batchv1.Job, f func(w *writes)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.of(job))
}

func (p *pending) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.jobs, key)
}

// shows tells that this version of the job has the last status that was written.
func (p *pending) shows(ctx context.Context, live client.Reader, job *batchv1.Job) (bool, error) {
	p.mu.Lock()
	w := p.of(job)
	unsure := w.unsure
	p.mu.Unlock()
	if unsure {
		fresh := &batchv1.Job{}
		if err := live.Get(ctx, client.ObjectKeyFromObject(job), fresh); client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("look for the last status of job %s: %w", job.Name, err)
		}
		p.note(job, func(w *writes) { w.version, w.unsure = max(w.version, version(fresh)), false })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return version(job) >= w.version, nil
}

// settled tells that the listed pods show all that was written to them. A created pod that is not listed is
// looked up: when it is gone again, or was never made, it is no longer waited for.
func (p *pending) settled(ctx context.Context, live client.Reader, job *batchv1.Job, pods []*corev1.Pod) (bool, error) {
	if err := p.resolve(ctx, live, job); err != nil {
		return false, err
	}
	missing, ok := p.see(job, pods)
	for name, uid := range missing {
		pod, err := lookUp(ctx, live, job.Namespace, name)
		if err != nil {
			return false, err
		}
		ref := metav1.GetControllerOfNoCopy(pod)
		if (uid == "" || pod.UID == uid) && ref != nil && ref.UID == job.UID {
			ok = false // its event is still to come, and brings us back
			continue
		}
		p.note(job, func(w *writes) { delete(w.created, name) })
	}
	return ok, nil
}

// resolve looks up the pods that were written to without an answer: lists must show them as they are now.
func (p *pending) resolve(ctx context.Context, live client.Reader, job *batchv1.Job) error {
	p.mu.Lock()
	doubted := maps.Clone(p.of(job).doubted)
	p.mu.Unlock()
	for uid, name := range doubted {
		pod, err := lookUp(ctx, live, job.Namespace, name)
		if err != nil {
			return err
		}
		p.note(job, func(w *writes) {
			delete(w.doubted, uid)
			if pod.UID == uid {
				w.patched[uid] = max(w.patched[uid], version(pod))
			} else {
				w.deleted[uid] = true
			}
		})
	}
	return nil
}

// lookUp returns the pod as it truly is, an empty one when there is none.
func lookUp(ctx context.Context, live client.Reader, namespace, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, pod); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("look for pod %s: %w", name, err)
	}
	return pod, nil
}

// see takes note of what pods show and returns the created pods that they lack.
func (p *pending) see(job *batchv1.Job, pods []*corev1.Pod) (map[string]types.UID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.of(job)
	ok := true
	patched, deleted := map[types.UID]uint64{}, map[types.UID]bool{}
	for _, pod := range pods {
		delete(w.created, pod.Name)
		if v := w.patched[pod.UID]; v > version(pod) {
			patched[pod.UID], ok = v, false
		}
		if w.deleted[pod.UID] && pod.DeletionTimestamp == nil {
			deleted[pod.UID], ok = true, false
		}
	}
	w.patched, w.deleted = patched, deleted // what is not listed any longer is gone
	return maps.Clone(w.created), ok
}

// version is how new an object is, among all versions of it.
func version(o client.Object) uint64 {
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
