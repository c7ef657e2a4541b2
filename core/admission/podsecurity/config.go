package podsecurity

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	config "k8s.io/pod-security-admission/admission/api"
	"k8s.io/pod-security-admission/admission/api/load"
	"k8s.io/pod-security-admission/admission/api/validation"
)

// Configuration says what namespaces without labels get, and who is exempt.
type Configuration = config.PodSecurityConfiguration

// Load reads a file with an AdmissionConfiguration (apiserver.config.k8s.io/v1), which has the plugin's PodSecurityConfiguration in it or
// names a file with it, relative to its own folder. Without a file, and for what is left out, the level is privileged and nobody is
// exempt. Unknown and duplicate fields are errors. So are other plugins than this one, for nothing here reads their configuration.
func Load(file string) (*Configuration, error) {
	if file == "" {
		return load.LoadFromData(nil)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	plugin, err := ownPart(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case plugin.Configuration != nil:
		data = plugin.Configuration.Raw
	case plugin.Path != "":
		base := filepath.Dir(file)
		if file = plugin.Path; !filepath.IsAbs(file) {
			file = filepath.Join(base, file)
		}
		if data, err = os.ReadFile(file); err != nil {
			return nil, err
		}
	default:
		data = nil
	}
	c, err := load.LoadFromData(data)
	if err == nil {
		err = validation.ValidatePodSecurityConfiguration(c).ToAggregate()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", file, name, err)
	}
	return c, nil
}

// ownPart is what an AdmissionConfiguration says of the plugin.
func ownPart(data []byte) (own apiserver.AdmissionPluginConfiguration, err error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	obj, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), data)
	if err != nil {
		return own, err
	}
	c, ok := obj.(*apiserver.AdmissionConfiguration)
	if !ok {
		return own, fmt.Errorf("this is a %T, not an AdmissionConfiguration", obj)
	}
	var errs field.ErrorList
	for i, p := range c.Plugins {
		path := field.NewPath("plugins").Index(i).Child("name")
		switch {
		case p.Name != name:
			errs = append(errs, field.NotSupported(path, p.Name, []string{name}))
		case own.Name != "":
			errs = append(errs, field.Duplicate(path, p.Name))
		default:
			own = p
		}
	}
	return own, errs.ToAggregate()
}
