import type { Event, Node, Service } from 'kubernetes-types/core/v1.d.ts';
import { as, type Dict, type Obj } from '../objects.ts';
import { age, columns, orNone } from './format.ts';
import type { Table } from './index.ts';

const count = (value: unknown) => Object.keys((value as Dict | undefined) ?? {}).length;

export const nodeTable: Table = {
  columns: columns(
    'Name',
    'Status',
    'Roles',
    'Age',
    'Version',
    'Internal-IP+',
    'External-IP+',
    'OS-Image+',
    'Kernel-Version+',
    'Container-Runtime+',
  ),
  row(object: Obj) {
    const node = as<Node>(object);
    const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
    const status = [ready ? (ready.status === 'True' ? 'Ready' : 'NotReady') : 'Unknown'];
    if (node.spec?.unschedulable) status.push('SchedulingDisabled');
    const roles = Object.entries(node.metadata?.labels ?? {})
      .map(([key, value]) =>
        key.startsWith('node-role.kubernetes.io/')
          ? key.slice('node-role.kubernetes.io/'.length)
          : key === 'kubernetes.io/role'
            ? value
            : '',
      )
      .filter((role) => role !== '')
      .sort();
    const address = (type: string) => orNone(node.status?.addresses?.find((a) => a.type === type)?.address);
    const info = node.status?.nodeInfo;
    const unknown = (text: string | undefined) => text || '<unknown>';
    return {
      cells: [
        node.metadata?.name,
        status.join(','),
        orNone(roles.join(',')),
        age(node.metadata?.creationTimestamp),
        info?.kubeletVersion,
        address('InternalIP'),
        address('ExternalIP'),
        unknown(info?.osImage),
        unknown(info?.kernelVersion),
        unknown(info?.containerRuntimeVersion),
      ],
    };
  },
};

export const eventTable: Table = {
  columns: columns(
    'Last Seen',
    'Type',
    'Reason',
    'Object',
    'Subobject+',
    'Source+',
    'Message',
    'First Seen+',
    'Count+',
    'Name+',
  ),
  row(object: Obj) {
    const event = as<Event>(object);
    const first = event.firstTimestamp ?? event.eventTime;
    const series = event.series as { lastObservedTime?: string; count?: number } | undefined;
    const last = series?.lastObservedTime ?? event.lastTimestamp ?? first;
    const { kind, name, fieldPath } = event.involvedObject;
    const source = [event.source?.component, event.source?.host].filter(Boolean).join(', ');
    return {
      cells: [
        age(last),
        event.type ?? '',
        event.reason ?? '',
        `${(kind ?? '').toLowerCase()}/${name}`,
        fieldPath ?? '',
        source || [event.reportingComponent, event.reportingInstance].filter(Boolean).join(', '),
        (event.message ?? '').trim(),
        age(first),
        series?.count ?? event.count ?? 1,
        event.metadata.name,
      ],
    };
  },
};

export const serviceTable: Table = {
  columns: columns('Name', 'Type', 'Cluster-IP', 'External-IP', 'Port(s)', 'Age', 'Selector+'),
  row(object: Obj) {
    const { spec, status, metadata } = as<Service>(object);
    const ingress = (status?.loadBalancer?.ingress ?? []).map((i) => i.ip ?? i.hostname);
    const external = spec?.type === 'ExternalName' ? [spec.externalName] : [...ingress, ...(spec?.externalIPs ?? [])];
    const ports = (spec?.ports ?? []).map((p) => `${p.port}${p.nodePort ? `:${p.nodePort}` : ''}/${p.protocol}`);
    const selector = Object.entries(spec?.selector ?? {}).map(([key, value]) => `${key}=${value}`);
    const pending = spec?.type === 'LoadBalancer' && external.length === 0 ? '<pending>' : '<none>';
    return {
      cells: [
        metadata?.name,
        spec?.type,
        orNone(spec?.clusterIPs?.[0] ?? spec?.clusterIP),
        external.join(',') || pending,
        orNone(ports.join(',')),
        age(metadata?.creationTimestamp),
        orNone(selector.sort().join(',')),
      ],
    };
  },
};

export const namespaceTable: Table = {
  columns: columns('Name', 'Status', 'Age'),
  row: (object) => ({
    cells: [
      object.metadata.name,
      (object.status as { phase?: string } | undefined)?.phase ?? '',
      age(object.metadata.creationTimestamp),
    ],
  }),
};

export const configMapTable: Table = {
  columns: columns('Name', 'Data', 'Age'),
  row: (object) => ({
    cells: [
      object.metadata.name,
      count(object.data) + count(object.binaryData),
      age(object.metadata.creationTimestamp),
    ],
  }),
};

export const secretTable: Table = {
  columns: columns('Name', 'Type', 'Data', 'Age'),
  row: (object) => ({
    cells: [object.metadata.name, object.type, count(object.data), age(object.metadata.creationTimestamp)],
  }),
};

export const endpointsTable: Table = {
  columns: columns('Name', 'Endpoints', 'Age'),
  row(object) {
    const subsets = (object.subsets ?? []) as { addresses?: { ip: string }[]; ports?: { port: number }[] }[];
    const all = subsets.flatMap((s) =>
      (s.ports ?? []).flatMap((p) => (s.addresses ?? []).map((a) => `${a.ip}:${p.port}`)),
    );
    const more = all.length > 3 ? ` + ${all.length - 3} more...` : '';
    return {
      cells: [object.metadata.name, orNone(all.slice(0, 3).join(',') + more), age(object.metadata.creationTimestamp)],
    };
  },
};
