import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from 'kubernetes-types/apps/v1.d.ts';
import type { PodTemplateSpec, Secret } from 'kubernetes-types/core/v1.d.ts';
import { as, type Dict, type Obj } from '../objects.ts';
import { defaultPodSpec } from './pod-defaults.ts';

/** Fills in a new or changed object's defaults, in place, by kind. */
export const DEFAULTS: Readonly<Record<string, (object: Obj) => void>> = {
  Deployment(object) {
    const spec = as<Deployment>(object).spec;
    if (!spec) return;
    spec.progressDeadlineSeconds ??= 600;
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    spec.strategy ??= {};
    spec.strategy.type ??= 'RollingUpdate';
    if (spec.strategy.type === 'RollingUpdate') {
      spec.strategy.rollingUpdate ??= {};
      spec.strategy.rollingUpdate.maxSurge ??= '25%';
      spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
    }
    defaultTemplate(spec.template);
  },
  ReplicaSet(object) {
    const spec = as<ReplicaSet>(object).spec;
    if (!spec) return;
    spec.replicas ??= 1;
    defaultTemplate(spec.template);
  },
  DaemonSet(object) {
    const spec = as<DaemonSet>(object).spec;
    if (!spec) return;
    spec.revisionHistoryLimit ??= 10;
    spec.updateStrategy ??= { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } };
    defaultTemplate(spec.template);
  },
  StatefulSet(object) {
    const spec = as<StatefulSet>(object).spec;
    if (!spec) return;
    spec.replicas ??= 1;
    spec.podManagementPolicy ??= 'OrderedReady';
    spec.revisionHistoryLimit ??= 10;
    spec.updateStrategy ??= { type: 'RollingUpdate', rollingUpdate: { partition: 0 } };
    defaultTemplate(spec.template);
  },
  Secret(object) {
    const secret = as<Secret>(object);
    for (const [key, value] of Object.entries(secret.stringData ?? {}))
      secret.data = { ...secret.data, [key]: Buffer.from(value).toString('base64') };
    delete secret.stringData;
    secret.type ||= 'Opaque';
  },
  Event(object) {
    object.eventTime ??= null;
    object.reportingComponent ??= '';
    object.reportingInstance ??= '';
    object.source ??= {};
  },
  Namespace(object) {
    object.metadata.labels ??= {};
    const { labels } = object.metadata;
    labels['kubernetes.io/metadata.name'] ??= object.metadata.name ?? '';
    object.spec ??= {};
    const spec = object.spec as Dict;
    spec.finalizers ??= ['kubernetes'];
    object.status ??= { phase: 'Active' };
  },
  CSIDriver(object) {
    object.spec ??= {};
    const spec = object.spec as Dict;
    spec.attachRequired ??= true;
    spec.podInfoOnMount ??= false;
    spec.requiresRepublish ??= false;
    spec.storageCapacity ??= false;
    spec.fsGroupPolicy ??= 'ReadWriteOnceWithFSType';
    spec.volumeLifecycleModes ??= ['Persistent'];
  },
  PriorityClass(object) {
    object.preemptionPolicy ??= 'PreemptLowerPriority';
  },
};

function defaultTemplate(template: PodTemplateSpec | undefined): void {
  if (template?.spec) defaultPodSpec(template.spec);
}
