import { parseImageReference } from '../../core/index.ts';
import type { Pod, Volume } from '../../kube/index.ts';
import { type AnyContainer, containersOf } from '../containers/spec.ts';
import { defaultPullPolicy } from '../images/policy.ts';

const MODE = 0o644;
/** Those that every cluster has; others only the server knows. */
const SYSTEM_PRIORITIES: Readonly<Record<string, number | undefined>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
};

/**
 * What the API server fills in for a pod that comes through it (kubernetes pkg/apis/core/v1/defaults.go), for one that
 * does not. Changes the pod; its shape must have been checked.
 */
export function applyDefaults(pod: Pod): void {
  const { spec } = pod;
  spec.restartPolicy ??= 'Always';
  spec.dnsPolicy ??= 'ClusterFirst';
  spec.schedulerName ??= 'default-scheduler';
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= 30;
  spec.enableServiceLinks ??= true;
  if (spec.priorityClassName) spec.priority ??= SYSTEM_PRIORITIES[spec.priorityClassName];
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
  for (const container of containersOf(pod)) defaultContainer(container, spec.hostNetwork === true);
}

function defaultContainer(container: AnyContainer, hostNetwork: boolean): void {
  container.terminationMessagePath ??= '/dev/termination-log';
  container.terminationMessagePolicy ??= 'File';
  const image = parseImageReference(container.image ?? '');
  if ('reference' in image) container.imagePullPolicy ??= defaultPullPolicy(image.reference);
  container.resources ??= {};
  const { limits, requests } = container.resources;
  if (limits) container.resources.requests = { ...limits, ...requests };
  for (const port of container.ports ?? []) {
    port.protocol ??= 'TCP';
    if (hostNetwork) port.hostPort ??= port.containerPort;
  }
  for (const { valueFrom } of container.env ?? []) if (valueFrom?.fieldRef) valueFrom.fieldRef.apiVersion ??= 'v1';
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
    if (!probe) continue;
    probe.timeoutSeconds ??= 1;
    probe.periodSeconds ??= 10;
    probe.successThreshold ??= 1;
    probe.failureThreshold ??= 3;
    defaultHttpGet(probe.httpGet);
    if (probe.grpc) probe.grpc.service ??= '';
  }
  defaultHttpGet(container.lifecycle?.preStop?.httpGet);
  defaultHttpGet(container.lifecycle?.postStart?.httpGet);
}

function defaultHttpGet(httpGet: { path?: string; scheme?: string } | undefined): void {
  if (!httpGet) return;
  httpGet.path ??= '/';
  httpGet.scheme ??= 'HTTP';
}

function defaultVolume(volume: Volume): void {
  if (Object.keys(volume).length === 1) volume.emptyDir = {};
  if (volume.hostPath) volume.hostPath.type ??= '';
  for (const source of [volume.downwardAPI, volume.projected]) if (source) source.defaultMode ??= MODE;
  const sources = volume.projected?.sources ?? [];
  for (const { items = [] } of [volume.downwardAPI, ...sources.map((s) => s.downwardAPI)].filter((one) => one != null))
    for (const item of items) if (item.fieldRef) item.fieldRef.apiVersion ??= 'v1';
}
