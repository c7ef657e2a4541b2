package api

import "k8s.io/apimachinery/pkg/types"

// Patch is a change in one of the four formats of Kubernetes.
type Patch struct {
	Type types.PatchType
	Data []byte
	// Force takes fields from other managers; for an apply only.
	Force bool
	// Validation says what is done about unknown and doubled fields.
	Validation FieldValidation
}

// FieldValidation is what a write does about unknown and doubled fields.
type FieldValidation string

// The ways of field validation.
const (
	ValidationStrict FieldValidation = "Strict"
	ValidationWarn   FieldValidation = "Warn"
	ValidationIgnore FieldValidation = "Ignore"
)
