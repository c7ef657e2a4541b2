package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// Secrets is all that the server, the printer and the docs know of Secret.
var Secrets = api.Kind[corev1.Secret]{
	Version: "v1", Name: "Secret", Plural: "secrets", Namespaced: true,
	SharesBody: true,
	Default:    func(s *corev1.Secret) { setDefault(&s.Type, corev1.SecretTypeOpaque) },
	Prepare:    prepareSecret,
	Validate:   validateSecret,
	Columns: []api.Column[corev1.Secret]{
		api.NameColumn[corev1.Secret](),
		{Name: "Type", Description: "What the keys mean.", Cell: func(s *corev1.Secret) any { return string(s.Type) }},
		{Name: "Data", Description: "Number of keys.", Cell: func(s *corev1.Secret) any { return int64(len(s.Data)) }},
		api.AgeColumn[corev1.Secret](),
	},
	Fields: map[string]func(*corev1.Secret) string{
		"type": func(s *corev1.Secret) string { return string(s.Type) },
	},
}

// prepareSecret moves the write-only stringData into data, where it wins.
func prepareSecret(s, old *corev1.Secret) {
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for key, value := range s.StringData {
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
	if old != nil && s.Type == "" {
		s.Type = old.Type
	}
}

func validateSecret(s, old *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	data, size := field.NewPath("data"), 0
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		errs = append(errs, validateDataKey(data, key)...)
		size += len(s.Data[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(data, "", corev1.MaxSecretSize))
	}
	errs = append(errs, validateSecretType(s, data)...)
	if old == nil {
		return errs
	}
	errs = append(errs, validation.ValidateImmutableField(s.Type, old.Type, field.NewPath("type"))...)
	if isTrue(old.Immutable) {
		errs = append(errs, validateStillImmutable(s.Immutable)...)
		errs = append(errs, validateUnchanged(s.Data, old.Data, data)...)
	}
	return errs
}

func validateSecretType(s *corev1.Secret, data *field.Path) field.ErrorList {
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			return field.ErrorList{field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), "")}
		}
	case corev1.SecretTypeDockercfg:
		return validateSecretJSON(s, data, corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		return validateSecretJSON(s, data, corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		_, user := s.Data[corev1.BasicAuthUsernameKey]
		_, password := s.Data[corev1.BasicAuthPasswordKey]
		if !user && !password {
			return field.ErrorList{
				field.Required(data.Key(corev1.BasicAuthUsernameKey), ""),
				field.Required(data.Key(corev1.BasicAuthPasswordKey), ""),
			}
		}
	case corev1.SecretTypeSSHAuth:
		if len(s.Data[corev1.SSHAuthPrivateKey]) == 0 {
			return field.ErrorList{field.Required(data.Key(corev1.SSHAuthPrivateKey), "")}
		}
	case corev1.SecretTypeTLS:
		var errs field.ErrorList
		for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if _, ok := s.Data[key]; !ok {
				errs = append(errs, field.Required(data.Key(key), ""))
			}
		}
		return errs
	}
	return nil
}

// validateSecretJSON never repeats the value, which is secret.
func validateSecretJSON(s *corev1.Secret, data *field.Path, key string) field.ErrorList {
	content, ok := s.Data[key]
	if !ok {
		return field.ErrorList{field.Required(data.Key(key), "")}
	}
	if err := json.Unmarshal(content, &map[string]any{}); err != nil {
		return field.ErrorList{field.Invalid(data.Key(key), "<secret contents redacted>", fmt.Sprint(err))}
	}
	return nil
}
