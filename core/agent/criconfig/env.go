package criconfig

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ErrConfig is a container whose configuration cannot be made; it shows as CreateContainerConfigError.
var ErrConfig = errors.New("container configuration")

// Source answers what environment refers to. A nil map without an error means that the object does not exist.
type Source interface {
	ConfigMap(name string) (*corev1.ConfigMap, error)
	Secret(name string) (*corev1.Secret, error)
}

// Env is an ordered environment.
type Env struct {
	order  []string
	values map[string]string
}

// NewEnv returns an empty environment.
func NewEnv() *Env { return &Env{values: map[string]string{}} }

// Set adds or replaces a variable.
func (e *Env) Set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.order = append(e.order, name)
	}
	e.values[name] = value
}

// Lookup finds a variable.
func (e *Env) Lookup(name string) (string, bool) {
	v, ok := e.values[name]
	return v, ok
}

// KeyValues is the environment as CRI wants it, in the order in which variables were first set.
func (e *Env) KeyValues() []*runtimeapi.KeyValue {
	out := make([]*runtimeapi.KeyValue, 0, len(e.order))
	for _, name := range e.order {
		out = append(out, &runtimeapi.KeyValue{Key: name, Value: []byte(e.values[name])})
	}
	return out
}

// Environment makes a container's environment: services first, then envFrom, then env, each overriding what came before.
func Environment(pod *corev1.Pod, c *corev1.Container, services []*corev1.Service, src Source, f Fields) (*Env, error) {
	env := NewEnv()
	for _, s := range services {
		serviceEnv(env, s)
	}
	for i := range c.EnvFrom {
		if err := envFrom(env, pod, &c.EnvFrom[i], src); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		v := &c.Env[i]
		if v.ValueFrom == nil {
			env.Set(v.Name, Expand(v.Value, env.Lookup))
			continue
		}
		value, ok, err := valueFrom(pod, c, v.ValueFrom, src, f)
		if err != nil {
			return nil, err
		}
		if ok {
			env.Set(v.Name, value)
		}
	}
	return env, nil
}

func envFrom(env *Env, pod *corev1.Pod, from *corev1.EnvFromSource, src Source) error {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		ref := from.ConfigMapRef
		cm, err := src.ConfigMap(ref.Name)
		if err != nil {
			return err
		}
		if cm == nil {
			return missing(ref.Optional, "configmap %q not found", ref.Name)
		}
		data = cm.Data
	case from.SecretRef != nil:
		ref := from.SecretRef
		s, err := src.Secret(ref.Name)
		if err != nil {
			return err
		}
		if s == nil {
			return missing(ref.Optional, "secret %q not found", ref.Name)
		}
		for k, v := range s.Data {
			data[k] = string(v)
		}
	}
	keys := make([]string, 0, len(data))
	for k := range data {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		if name := from.Prefix + k; len(validation.IsRelaxedEnvVarName(name)) == 0 {
			env.Set(name, data[k])
		}
	}
	return nil
}

func missing(optional *bool, format string, args ...any) error {
	if optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

func valueFrom(pod *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource, src Source, f Fields) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		v, err := f.Field(pod, from.FieldRef.FieldPath)
		return v, true, err
	case from.ResourceFieldRef != nil:
		target := c
		if name := from.ResourceFieldRef.ContainerName; name != "" {
			if target = Find(pod, name); target == nil {
				return "", false, fmt.Errorf("%w: container %s not found", ErrConfig, name)
			}
		}
		v, err := f.Resource(target, from.ResourceFieldRef)
		return v, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		cm, err := src.ConfigMap(ref.Name)
		if err != nil {
			return "", false, err
		}
		if cm == nil {
			return "", false, missing(ref.Optional, "configmap %q not found", ref.Name)
		}
		v, ok := cm.Data[ref.Key]
		if !ok {
			return "", false, missing(ref.Optional, "couldn't find key %v in ConfigMap %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return v, true, nil
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, err := src.Secret(ref.Name)
		if err != nil {
			return "", false, err
		}
		if s == nil {
			return "", false, missing(ref.Optional, "secret %q not found", ref.Name)
		}
		v, ok := s.Data[ref.Key]
		if !ok {
			return "", false, missing(ref.Optional, "couldn't find key %v in Secret %v/%v", ref.Key, pod.Namespace, ref.Name)
		}
		return string(v), true, nil
	}
	return "", false, fmt.Errorf("%w: environment source is not supported", ErrConfig)
}

// Find returns the container of that name, of any kind, or nil.
func Find(pod *corev1.Pod, name string) *corev1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			c := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
			return &c
		}
	}
	return nil
}

// serviceEnv sets the variables of one Service, the {NAME}_SERVICE_HOST family and the Docker link family.
func serviceEnv(env *Env, s *corev1.Service) {
	if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
		return
	}
	name := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
	host := s.Spec.ClusterIP
	env.Set(name+"_SERVICE_HOST", host)
	env.Set(name+"_SERVICE_PORT", fmt.Sprint(s.Spec.Ports[0].Port))
	for _, p := range s.Spec.Ports {
		if p.Name != "" {
			env.Set(name+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), fmt.Sprint(p.Port))
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	for i, p := range s.Spec.Ports {
		protocol := strings.ToLower(string(p.Protocol))
		if protocol == "" {
			protocol = "tcp"
		}
		url := fmt.Sprintf("%s://%s:%d", protocol, host, p.Port)
		prefix := fmt.Sprintf("%s_PORT_%d_%s", name, p.Port, strings.ToUpper(protocol))
		if i == 0 {
			env.Set(name+"_PORT", url)
		}
		env.Set(prefix, url)
		env.Set(prefix+"_PROTO", protocol)
		env.Set(prefix+"_PORT", fmt.Sprint(p.Port))
		env.Set(prefix+"_ADDR", s.Spec.ClusterIP)
	}
}
