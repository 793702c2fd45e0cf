import type { Lease } from 'kubernetes-types/coordination/v1.d.ts';
import type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import { as, type Dict } from '../objects.ts';
import { formatLabelSelector } from '../selectors.ts';
import { age, columns, orNone } from './format.ts';
import type { Table } from './index.ts';

export const defaultTable: Table = {
  columns: columns('Name', 'Age'),
  row: (object) => ({ cells: [object.metadata.name, age(object.metadata.creationTimestamp)] }),
};

export const leaseTable: Table = {
  columns: columns('Name', 'Holder', 'Age'),
  row: (object) => ({
    cells: [object.metadata.name, as<Lease>(object).spec?.holderIdentity ?? '', age(object.metadata.creationTimestamp)],
  }),
};

export const endpointSliceTable: Table = {
  columns: columns('Name', 'AddressType', 'Ports', 'Endpoints', 'Age'),
  row(object) {
    const slice = as<EndpointSlice>(object);
    const addresses = (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses);
    const more = addresses.length > 3 ? ` + ${addresses.length - 3} more...` : '';
    const ports = (slice.ports ?? []).map((port) => port.port ?? '*').join(',');
    return {
      cells: [
        object.metadata.name,
        slice.addressType,
        ports || '<unset>',
        addresses.length > 0 ? addresses.slice(0, 3).join(',') + more : '<unset>',
        age(object.metadata.creationTimestamp),
      ],
    };
  },
};

export const roleTable: Table = {
  columns: columns('Name', 'Created At:date'),
  row: (object) => ({ cells: [object.metadata.name, object.metadata.creationTimestamp] }),
};

export const roleBindingTable: Table = {
  columns: columns('Name', 'Role', 'Age', 'Users+', 'Groups+', 'ServiceAccounts+'),
  row(object) {
    const role = object.roleRef as { kind: string; name: string };
    const subjects = (object.subjects ?? []) as { kind: string; name: string; namespace?: string }[];
    const of = (kind: string) => subjects.filter((subject) => subject.kind === kind);
    return {
      cells: [
        object.metadata.name,
        `${role?.kind}/${role?.name}`,
        age(object.metadata.creationTimestamp),
        of('User')
          .map((s) => s.name)
          .join(', '),
        of('Group')
          .map((s) => s.name)
          .join(', '),
        of('ServiceAccount')
          .map((s) => `${s.namespace}/${s.name}`)
          .join(', '),
      ],
    };
  },
};

export const runtimeClassTable: Table = {
  columns: columns('Name', 'Handler', 'Age'),
  row: (object) => ({ cells: [object.metadata.name, object.handler, age(object.metadata.creationTimestamp)] }),
};

export const csiNodeTable: Table = {
  columns: columns('Name', 'Drivers:integer', 'Age'),
  row: (object) => ({
    cells: [
      object.metadata.name,
      ((object.spec as Dict | undefined)?.drivers as unknown[] | undefined)?.length ?? 0,
      age(object.metadata.creationTimestamp),
    ],
  }),
};

export const networkPolicyTable: Table = {
  columns: columns('Name', 'Pod-Selector', 'Age'),
  row: (object) => ({
    cells: [
      object.metadata.name,
      orNone(formatLabelSelector((object.spec as Dict | undefined)?.podSelector as never)),
      age(object.metadata.creationTimestamp),
    ],
  }),
};
