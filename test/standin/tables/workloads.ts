import type { DaemonSet, Deployment, ReplicaSet } from 'kubernetes-types/apps/v1.d.ts';
import type { PodTemplateSpec } from 'kubernetes-types/core/v1.d.ts';
import { as, type Obj } from '../objects.ts';
import { formatLabelSelector } from '../selectors.ts';
import { age, columns, orNone } from './format.ts';
import type { Table } from './index.ts';

const names = (template: PodTemplateSpec | undefined) =>
  (template?.spec?.containers ?? []).map((c) => c.name).join(',');
const images = (template: PodTemplateSpec | undefined) =>
  (template?.spec?.containers ?? []).map((c) => c.image).join(',');

export const deploymentTable: Table = {
  columns: columns('Name', 'Ready', 'Up-to-date', 'Available', 'Age', 'Containers+', 'Images+', 'Selector+'),
  row(object: Obj) {
    const { metadata, spec, status } = as<Deployment>(object);
    return {
      cells: [
        metadata?.name,
        `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`,
        status?.updatedReplicas ?? 0,
        status?.availableReplicas ?? 0,
        age(metadata?.creationTimestamp),
        names(spec?.template),
        images(spec?.template),
        formatLabelSelector(spec?.selector as never),
      ],
    };
  },
};

export const replicaSetTable: Table = {
  columns: columns(
    'Name',
    'Desired:integer',
    'Current:integer',
    'Ready:integer',
    'Age',
    'Containers+',
    'Images+',
    'Selector+',
  ),
  row(object: Obj) {
    const { metadata, spec, status } = as<ReplicaSet>(object);
    return {
      cells: [
        metadata?.name,
        spec?.replicas ?? 0,
        status?.replicas ?? 0,
        status?.readyReplicas ?? 0,
        age(metadata?.creationTimestamp),
        names(spec?.template),
        images(spec?.template),
        formatLabelSelector(spec?.selector as never),
      ],
    };
  },
};

export const daemonSetTable: Table = {
  columns: columns(
    'Name',
    'Desired:integer',
    'Current:integer',
    'Ready:integer',
    'Up-to-date:integer',
    'Available:integer',
    'Node Selector',
    'Age',
    'Containers+',
    'Images+',
    'Selector+',
  ),
  row(object: Obj) {
    const { metadata, spec, status } = as<DaemonSet>(object);
    const selector = Object.entries(spec?.template.spec?.nodeSelector ?? {}).map(([key, value]) => `${key}=${value}`);
    return {
      cells: [
        metadata?.name,
        status?.desiredNumberScheduled ?? 0,
        status?.currentNumberScheduled ?? 0,
        status?.numberReady ?? 0,
        status?.updatedNumberScheduled ?? 0,
        status?.numberAvailable ?? 0,
        orNone(selector.join(',')),
        age(metadata?.creationTimestamp),
        names(spec?.template),
        images(spec?.template),
        formatLabelSelector(spec?.selector as never),
      ],
    };
  },
};
