// Package all lists the kinds that Gantry serves, so that adding one is one line in one place.
package all

import (
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/admissionregistration"
	"github.com/gantryio/gantry/core/api/apiextensions"
	"github.com/gantryio/gantry/core/api/apiregistration"
	"github.com/gantryio/gantry/core/api/apps"
	"github.com/gantryio/gantry/core/api/authentication"
	"github.com/gantryio/gantry/core/api/authorization"
	"github.com/gantryio/gantry/core/api/autoscaling"
	"github.com/gantryio/gantry/core/api/batch"
	"github.com/gantryio/gantry/core/api/certificates"
	"github.com/gantryio/gantry/core/api/coordination"
	"github.com/gantryio/gantry/core/api/core"
	"github.com/gantryio/gantry/core/api/discovery"
	"github.com/gantryio/gantry/core/api/events"
	"github.com/gantryio/gantry/core/api/flowcontrol"
	"github.com/gantryio/gantry/core/api/metrics"
	"github.com/gantryio/gantry/core/api/networking"
	"github.com/gantryio/gantry/core/api/node"
	"github.com/gantryio/gantry/core/api/plugins"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/api/policy"
	"github.com/gantryio/gantry/core/api/rbac"
	"github.com/gantryio/gantry/core/api/resource"
	"github.com/gantryio/gantry/core/api/scheduling"
	"github.com/gantryio/gantry/core/api/storage"
	"github.com/gantryio/gantry/core/api/storagemigration"
)

//go:generate go run ./generate -out ../../../docs/kinds.md

// register runs once, for nobody may read the scheme while it is written.
var register = sync.OnceFunc(func() {
	utilruntime.Must(v1alpha1.AddToScheme(scheme.Scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme.Scheme))
	utilruntime.Must(apiregistrationv1.AddToScheme(scheme.Scheme))
	utilruntime.Must(metricsv1beta1.AddToScheme(scheme.Scheme))
})

// Kinds makes the registry of all kinds, in the order in which discovery announces them, and makes those
// known to client-go's scheme that are none of its own.
func Kinds() *api.Registry {
	register()
	return api.NewRegistry(
		core.ComponentStatuses.Resource(),
		core.ConfigMaps.Resource(),
		core.Endpoints.Resource(),
		core.Events.Resource(),
		core.LimitRanges.Resource(),
		core.Namespaces.Resource(),
		core.Nodes.Resource(),
		core.PersistentVolumeClaims.Resource(),
		core.PersistentVolumes.Resource(),
		core.Pods.Resource(),
		core.PodTemplates.Resource(),
		core.ReplicationControllers.Resource(),
		core.ResourceQuotas.Resource(),
		core.Secrets.Resource(),
		core.ServiceAccounts.Resource(),
		core.Services.Resource(),
		admissionregistration.MutatingAdmissionPolicies.Resource(),
		admissionregistration.MutatingAdmissionPolicyBindings.Resource(),
		admissionregistration.MutatingWebhookConfigurations.Resource(),
		admissionregistration.ValidatingAdmissionPolicies.Resource(),
		admissionregistration.ValidatingAdmissionPolicyBindings.Resource(),
		admissionregistration.ValidatingWebhookConfigurations.Resource(),
		apiextensions.CustomResourceDefinitions.Resource(),
		apiregistration.APIServices.Resource(),
		apps.ControllerRevisions.Resource(),
		apps.DaemonSets.Resource(),
		apps.Deployments.Resource(),
		apps.ReplicaSets.Resource(),
		apps.StatefulSets.Resource(),
		authentication.SelfSubjectReviews.Resource(),
		authentication.TokenReviews.Resource(),
		authorization.LocalSubjectAccessReviews.Resource(),
		authorization.SelfSubjectAccessReviews.Resource(),
		authorization.SelfSubjectRulesReviews.Resource(),
		authorization.SubjectAccessReviews.Resource(),
		autoscaling.HorizontalPodAutoscalers.Resource(),
		autoscaling.HorizontalPodAutoscalersV1.Resource(),
		batch.CronJobs.Resource(),
		batch.Jobs.Resource(),
		certificates.Requests.Resource(),
		certificates.ClusterTrustBundles.Resource(),
		certificates.PodCertificateRequests.Resource(),
		coordination.Leases.Resource(),
		discovery.EndpointSlices.Resource(),
		events.Events.Resource(),
		flowcontrol.FlowSchemas.Resource(),
		flowcontrol.PriorityLevelConfigurations.Resource(),
		metrics.NodeMetrics.Resource(),
		metrics.PodMetrics.Resource(),
		networking.IngressClasses.Resource(),
		networking.Ingresses.Resource(),
		networking.IPAddresses.Resource(),
		networking.NetworkPolicies.Resource(),
		networking.ServiceCIDRs.Resource(),
		node.RuntimeClasses.Resource(),
		plugins.NodePlugins.Resource(),
		plugins.PluginPolicies.Resource(),
		plugins.Plugins.Resource(),
		plugins.PluginSwaps.Resource(),
		policy.PodDisruptionBudgets.Resource(),
		rbac.ClusterRoleBindings.Resource(),
		rbac.ClusterRoles.Resource(),
		rbac.RoleBindings.Resource(),
		rbac.Roles.Resource(),
		resource.DeviceClasses.Resource(),
		resource.DeviceTaintRules.Resource(),
		resource.ResourceClaims.Resource(),
		resource.ResourceClaimTemplates.Resource(),
		resource.ResourceSlices.Resource(),
		scheduling.PriorityClasses.Resource(),
		storage.CSIDrivers.Resource(),
		storage.CSINodes.Resource(),
		storage.CSIStorageCapacities.Resource(),
		storage.StorageClasses.Resource(),
		storage.VolumeAttachments.Resource(),
		storage.VolumeAttributesClasses.Resource(),
		storagemigration.Migrations.Resource(),
	)
}
