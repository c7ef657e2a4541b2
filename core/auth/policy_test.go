package auth

import "testing"

// Roles are created at the same time, and what creates an object may write to any part of it.
func TestBootstrapRolesShareNothing(t *testing.T) {
	whose := map[*string]string{}
	for _, role := range append(BootstrapRoles(), BootstrapRoles()...) {
		for i, rule := range role.Rules {
			for _, list := range [][]string{rule.Verbs, rule.APIGroups, rule.Resources, rule.ResourceNames, rule.NonResourceURLs} {
				if len(list) == 0 {
					continue
				}
				if other, shared := whose[&list[0]]; shared {
					t.Errorf("rule %d of %s shares a list with one of %s", i, role.Name, other)
				}
				whose[&list[0]] = role.Name
			}
		}
	}
}
