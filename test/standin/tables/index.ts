import type { Kind } from '../kinds.ts';
import type { Obj } from '../objects.ts';
import {
  configMapTable,
  endpointsTable,
  eventTable,
  namespaceTable,
  nodeTable,
  secretTable,
  serviceTable,
} from './core.ts';
import type { Column } from './format.ts';
import {
  csiNodeTable,
  defaultTable,
  endpointSliceTable,
  leaseTable,
  networkPolicyTable,
  roleBindingTable,
  roleTable,
  runtimeClassTable,
} from './others.ts';
import { podTable } from './pods.ts';
import { daemonSetTable, deploymentTable, replicaSetTable } from './workloads.ts';

/** How `kubectl get` shows a kind: columns, and a row of cells for an object. */
export interface Table {
  columns: Column[];
  row(object: Obj): { cells: unknown[]; conditions?: unknown[] };
}

const TABLES: Readonly<Record<string, Table>> = {
  Pod: podTable,
  Node: nodeTable,
  Event: eventTable,
  Namespace: namespaceTable,
  Service: serviceTable,
  ConfigMap: configMapTable,
  Secret: secretTable,
  Endpoints: endpointsTable,
  Deployment: deploymentTable,
  ReplicaSet: replicaSetTable,
  DaemonSet: daemonSetTable,
  Lease: leaseTable,
  EndpointSlice: endpointSliceTable,
  Role: roleTable,
  ClusterRole: roleTable,
  RoleBinding: roleBindingTable,
  ClusterRoleBinding: roleBindingTable,
  RuntimeClass: runtimeClassTable,
  CSINode: csiNodeTable,
  NetworkPolicy: networkPolicyTable,
};

export function tableFor(kind: Kind): Table {
  return TABLES[kind.kind] ?? defaultTable;
}
