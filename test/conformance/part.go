package main

import (
	"fmt"
	"regexp"
	"strings"
)

// part are tests that take seconds, always pass, and need no seccomp: what a change is most likely to break, in a few minutes.
var part = []string{
	"[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface for CRDs [Conformance]",
	"[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs [Conformance]",
	"[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert from CR v1 to CR v2 [Conformance]",
	"[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition creating/deleting custom resource definition objects works [Conformance]",
	"[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works [Conformance]",
	"[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition listing custom resource definition objects works [Conformance]",
	"[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource defaulting for requests and from storage works [Conformance]",
	"[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource definition resources in discovery documents [Conformance]",
	"[sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup [Conformance]",
	"[sig-api-machinery] FieldValidation should create/apply a CR with unknown fields for CRD with no validation schema [Conformance]",
	"[sig-api-machinery] FieldValidation should create/apply a valid CR for CRD with validation schema [Conformance]",
	"[sig-api-machinery] FieldValidation should detect duplicates in a CR when preserving unknown fields [Conformance]",
	"[sig-api-machinery] FieldValidation should detect unknown and duplicate fields of a typed object [Conformance]",
	"[sig-api-machinery] FieldValidation should detect unknown metadata fields of a typed object [Conformance]",
	"[sig-api-machinery] Garbage collector should delete RS created by deployment when not orphaning [Conformance]",
	"[sig-api-machinery] Garbage collector should delete pods created by rc when not orphaning [Conformance]",
	"[sig-api-machinery] Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan [Conformance]",
	"[sig-api-machinery] ResourceQuota should apply changes to a resourcequota status [Conformance]",
	"[sig-api-machinery] ResourceQuota should be able to update and delete ResourceQuota. [Conformance]",
	"[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a pod. [Conformance]",
	"[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replica set. [Conformance]",
	"[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replication controller. [Conformance]",
	"[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a service. [Conformance]",
	"[sig-api-machinery] ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated. [Conformance]",
	"[sig-api-machinery] ResourceQuota should manage the lifecycle of a ResourceQuota [Conformance]",
	"[sig-api-machinery] ResourceQuota should verify ResourceQuota with best effort scope. [Conformance]",
	"[sig-api-machinery] Watchers should be able to restart watching from the last resource version observed by the previous watch [Conformance]",
	"[sig-api-machinery] Watchers should be able to start watching from a specific resource version [Conformance]",
	"[sig-api-machinery] Watchers should observe an object deletion if it stops meeting the requirements of the selector [Conformance]",
	"[sig-api-machinery] Watchers should receive events on concurrent watches in same order [Conformance]",
	"[sig-api-machinery] server version should find the server version [Conformance]",
	"[sig-apps] CronJob should replace jobs when ReplaceConcurrent [Conformance]",
	"[sig-apps] CronJob should schedule multiple jobs concurrently [Conformance]",
	"[sig-apps] CronJob should support CronJob API operations [Conformance]",
	"[sig-apps] Deployment Deployment should have a working scale subresource [Conformance]",
	"[sig-apps] Deployment RecreateDeployment should delete old pods and create new ones [Conformance]",
	"[sig-apps] Deployment RollingUpdateDeployment should delete old pods and create new ones [Conformance]",
	"[sig-apps] Deployment deployment should delete old replica sets [Conformance]",
	"[sig-apps] Deployment deployment should support proportional scaling [Conformance]",
	"[sig-apps] Deployment deployment should support rollover [Conformance]",
	"[sig-apps] Deployment should run the lifecycle of a Deployment [Conformance]",
	"[sig-apps] Deployment should validate Deployment Status endpoints [Conformance]",
	"[sig-apps] DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of PodDisruptionBudgets [Conformance]",
	"[sig-apps] DisruptionController should block an eviction until the PDB is updated to allow it [Conformance]",
	"[sig-apps] DisruptionController should create a PodDisruptionBudget [Conformance]",
	"[sig-apps] DisruptionController should observe PodDisruptionBudget status updated [Conformance]",
	"[sig-apps] DisruptionController should update/patch PodDisruptionBudget status [Conformance]",
	"[sig-apps] Job should adopt matching orphans and release non-matching pods [Conformance]",
	"[sig-apps] Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition [Conformance]",
	"[sig-apps] Job should allow to use the pod failure policy on exit code to fail the job early [Conformance]",
	"[sig-apps] Job should apply changes to a job status [Conformance]",
	"[sig-apps] Job should create pods for an Indexed job with completion indexes and specified hostname [Conformance]",
	"[sig-apps] Job should delete a job [Conformance]",
	"[sig-apps] Job should execute all indexes despite some failing when using backoffLimitPerIndex [Conformance]",
	"[sig-apps] Job should manage the lifecycle of a job [Conformance]",
	"[sig-apps] Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy [Conformance]",
	"[sig-apps] Job should run a job to completion when tasks sometimes fail and are locally restarted [Conformance]",
	"[sig-apps] Job should terminate job execution when the number of failed indexes exceeds maxFailedIndexes [Conformance]",
	"[sig-apps] Job with successPolicy should succeeded when all indexes succeeded [Conformance]",
	"[sig-apps] Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending [Conformance]",
	"[sig-apps] Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending [Conformance]",
	"[sig-apps] ReplicaSet Replace and Patch tests [Conformance]",
	"[sig-apps] ReplicaSet Replicaset should have a working scale subresource [Conformance]",
	"[sig-apps] ReplicaSet should adopt matching pods on creation and release no longer matching pods [Conformance]",
	"[sig-apps] ReplicaSet should list and delete a collection of ReplicaSets [Conformance]",
	"[sig-apps] ReplicaSet should serve a basic image on each replica with a public image [Conformance]",
	"[sig-apps] ReplicaSet should validate Replicaset Status endpoints [Conformance]",
	"[sig-apps] ReplicationController should adopt matching pods on creation [Conformance]",
	"[sig-apps] ReplicationController should get and update a ReplicationController scale [Conformance]",
	"[sig-apps] ReplicationController should release no longer matching pods [Conformance]",
	"[sig-apps] ReplicationController should serve a basic image on each replica with a public image [Conformance]",
	"[sig-apps] ReplicationController should surface a failure condition on a common issue like exceeded quota [Conformance]",
	"[sig-apps] ReplicationController should test the lifecycle of a ReplicationController [Conformance]",
	"[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Should recreate evicted statefulset [Conformance]",
	"[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should have a working scale subresource [Conformance]",
	"[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should list, patch and delete a collection of StatefulSets [Conformance]",
	"[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform canary updates and phased rolling updates of template modifications [Conformance]",
	"[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform rolling updates and roll backs of template modifications [Conformance]",
	"[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should validate Statefulset Status endpoints [Conformance]",
	"[sig-auth] ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer [Conformance]",
	"[sig-auth] ServiceAccounts should mount an API token into pods [Conformance]",
	"[sig-auth] ServiceAccounts should set ownership and permission when RunAsUser or FsGroup is present [LinuxOnly]",
	"[sig-cli] Kubectl client Kubectl api-versions should check if v1 is in available api versions [Conformance]",
	"[sig-cli] Kubectl client Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info [Conformance]",
	"[sig-cli] Kubectl client Kubectl describe should check if kubectl describe prints relevant information for rc and pods [Conformance]",
	"[sig-cli] Kubectl client Kubectl diff should check if kubectl diff finds a difference for Deployments [Conformance]",
	"[sig-cli] Kubectl client Kubectl expose should create services for rc [Conformance]",
	"[sig-cli] Kubectl client Kubectl label should update the label on a resource [Conformance]",
	"[sig-cli] Kubectl client Kubectl patch should add annotations for pods in rc [Conformance]",
	"[sig-cli] Kubectl client Kubectl replace should update a single-container pod's image [Conformance]",
	"[sig-cli] Kubectl client Kubectl run pod should create a pod from an image when restart is Never [Conformance]",
	"[sig-cli] Kubectl client Kubectl server-side dry-run should check if kubectl can dry-run update Pods [Conformance]",
	"[sig-cli] Kubectl client Kubectl version should check is all data is printed [Conformance]",
	"[sig-cli] Kubectl client Proxy server should support --unix-socket=/path [Conformance]",
	"[sig-cli] Kubectl client Proxy server should support proxy with --port 0 [Conformance]",
	"[sig-cli] Kubectl logs logs should be able to retrieve and filter logs [Conformance]",
	"[sig-network] DNS should provide DNS for services [Conformance]",
	"[sig-network] DNS should provide DNS for the cluster [Conformance]",
	"[sig-node] Ephemeral Containers [NodeConformance] should update the ephemeral containers in an existing pod [Conformance]",
	"[sig-node] Ephemeral Containers [NodeConformance] will start an ephemeral container in an existing pod [Conformance]",
	"[sig-node] InitContainer [NodeConformance] should not start app containers and fail the pod if init containers fail on a RestartNever pod [Conformance]",
	"[sig-scheduling] LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied. [Conformance]",
	"[sig-scheduling] LimitRange should list, patch and delete a LimitRange by collection [Conformance]",
}

// partFocus matches the names of these tests. Ginkgo puts more words around them.
func partFocus() string {
	names := make([]string, 0, len(part))
	for _, name := range part {
		names = append(names, regexp.QuoteMeta(name))
	}
	return strings.Join(names, "|")
}

// missing names the tests of the part that have not passed: one that upstream renames must not go unnoticed.
func missing(results []result) error {
	ok := map[string]bool{}
	for _, r := range results {
		ok[r.name] = r.verdict == passed
	}
	var names []string
	for _, name := range part {
		if !ok[name] {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("not passed:\n\t%s", strings.Join(names, "\n\t"))
	}
	return nil
}
