package api

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
)

// Nearly all names are good, and the library matches each against a regular expression to find that out. What follows tells it
// of most, and asks the library about the others.

// ValidateSubdomain is [validation.NameIsDNSSubdomain].
func ValidateSubdomain(name string, prefix bool) []string {
	if isSubdomain(name) || prefix && isSubdomain(strings.TrimSuffix(name, "-")) {
		return nil
	}
	return validation.NameIsDNSSubdomain(name, prefix)
}

// isSubdomain tells that a name is one by RFC 1123, which may have labels longer than that allows.
func isSubdomain(name string) bool {
	before := byte('.')
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case c == '-' && before != '.':
		case c == '.' && before != '.' && before != '-':
		default:
			return false
		}
		before = c
	}
	return before != '.' && before != '-' && len(name) <= utilvalidation.DNS1123SubdomainMaxLength
}

// ValidateDataKey is [utilvalidation.IsConfigMapKey], which keys of Secrets have to be, too.
func ValidateDataKey(key string) []string {
	if isDataKey(key) {
		return nil
	}
	return utilvalidation.IsConfigMapKey(key)
}

func isDataKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return key != "" && key != "." && !strings.HasPrefix(key, "..") && len(key) <= utilvalidation.DNS1123SubdomainMaxLength
}

// isLabel tells a label of RFC 1123.
func isLabel(name string) bool {
	return len(name) <= utilvalidation.DNS1123LabelMaxLength && !strings.Contains(name, ".") && isSubdomain(name)
}

// isLabelKey tells what [utilvalidation.IsQualifiedName] takes.
func isLabelKey(key string) bool {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		return key != "" && isLabelValue(key)
	}
	return isSubdomain(prefix) && name != "" && isLabelValue(name)
}

// isLabelValue tells what [utilvalidation.IsValidLabelValue] takes.
func isLabelValue(value string) bool {
	for i := range len(value) {
		c := value[i]
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
		case (c == '-' || c == '_' || c == '.') && i > 0 && i < len(value)-1:
		default:
			return false
		}
	}
	return len(value) <= utilvalidation.LabelValueMaxLength
}
