package pod

import (
	"hash/fnv"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	backoffBase  = 10 * time.Second
	backoffMax   = 5 * time.Minute
	backoffReset = 10 * time.Minute
)

// Delay is the restart back-off of a step: none for the first restart, then 10 s doubling up to 5 min.
func Delay(step int) time.Duration {
	if step <= 0 {
		return 0
	}
	if step > 6 {
		return backoffMax
	}
	return min(backoffBase<<(step-1), backoffMax)
}

// NextStep is the back-off step that the successor of an ended incarnation starts with. An incarnation that ran for
// ten minutes, or that was replaced because its spec changed, starts over.
func NextStep(c *Container, hash string) int {
	if c == nil || c.Hash != hash {
		return 0
	}
	if !c.StartedAt.IsZero() && c.FinishedAt.Sub(c.StartedAt) >= backoffReset {
		return 1
	}
	return c.Step + 1
}

// RestartAt is when the successor of an ended incarnation may start.
func RestartAt(c *Container, hash string) time.Time {
	return c.FinishedAt.Add(restartDelay(c, hash))
}

func restartDelay(c *Container, hash string) time.Duration {
	return Delay(NextStep(c, hash) - 1)
}

// Hash identifies what of a container's spec cannot change while it lives: its name and its image.
func Hash(c *corev1.Container) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.Name + "\x00" + c.Image))
	return strconv.FormatUint(h.Sum64(), 16)
}

// Sidecar tells whether an init container is a restartable one.
func Sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// restarts tells whether an ended container is to run again.
func restarts(p *corev1.Pod, c *corev1.Container, exit int32, init bool) bool {
	for _, r := range c.RestartPolicyRules {
		if r.Action == corev1.ContainerRestartRuleActionRestart && matches(r.ExitCodes, exit) {
			return true
		}
	}
	policy := string(p.Spec.RestartPolicy)
	if c.RestartPolicy != nil {
		policy = string(*c.RestartPolicy)
	}
	switch policy {
	case string(corev1.RestartPolicyNever):
		return false
	case string(corev1.RestartPolicyOnFailure):
		return exit != 0
	}
	return !init || Sidecar(c) || exit != 0
}

func matches(codes *corev1.ContainerRestartRuleOnExitCodes, exit int32) bool {
	if codes == nil {
		return false
	}
	in := false
	for _, v := range codes.Values {
		in = in || v == exit
	}
	return in == (codes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn)
}
