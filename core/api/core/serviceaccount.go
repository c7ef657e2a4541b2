package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/gantryio/gantry/core/api"
)

// ServiceAccounts is all that the server, the printer and the docs know of ServiceAccount.
var ServiceAccounts = api.Kind[corev1.ServiceAccount]{
	Version: "v1", Name: "ServiceAccount", Plural: "serviceaccounts", Short: []string{"sa"}, Namespaced: true,
	ValidateName: validation.ValidateServiceAccountName,
	Columns: []api.Column[corev1.ServiceAccount]{
		api.NameColumn[corev1.ServiceAccount](),
		api.AgeColumn[corev1.ServiceAccount](),
	},
}
