import { findProgram } from './binary.ts';

/** A container runtime beside runc: a RuntimeClass handler's name → shim type and program. */
export interface ExtraRuntime {
  readonly name: string;
  readonly type: string;
  /** Full path. */
  readonly binary: string;
}

/** k3s pkg/agent/containerd/runtimes.go: name, program, containerd's runtime type. */
const KNOWN: readonly (readonly [string, string, string])[] = [
  ['crun', 'crun', 'io.containerd.runc.v2'],
  ['nvidia', 'nvidia-container-runtime', 'io.containerd.runc.v2'],
  ['nvidia-experimental', 'nvidia-container-runtime-experimental', 'io.containerd.runc.v2'],
  ['nvidia-cdi', 'nvidia-container-runtime.cdi', 'io.containerd.runc.v2'],
  ['lunatic', 'containerd-shim-lunatic-v1', 'io.containerd.lunatic.v1'],
  ['slight', 'containerd-shim-slight-v1', 'io.containerd.slight.v1'],
  ['spin', 'containerd-shim-spin-v2', 'io.containerd.spin.v2'],
  ['wws', 'containerd-shim-wws-v1', 'io.containerd.wws.v1'],
  ['wasmedge', 'containerd-shim-wasmedge-v1', 'io.containerd.wasmedge.v1'],
  ['wasmer', 'containerd-shim-wasmer-v1', 'io.containerd.wasmer.v1'],
  ['wasmtime', 'containerd-shim-wasmtime-v1', 'io.containerd.wasmtime.v1'],
];

/** Where the NVIDIA GPU operator and the kwasm operator put theirs; looked at before PATH. */
const OPERATOR_FOLDERS = ['/usr/local/nvidia/toolkit', '/opt/kwasm/bin'];

export async function findRuntimes(folders: readonly string[]): Promise<ExtraRuntime[]> {
  const found = await Promise.all(
    KNOWN.map(async ([name, program, type]) => {
      const binary = await findProgram(program, [...OPERATOR_FOLDERS, ...folders]);
      return binary === undefined ? [] : [{ name, type, binary }];
    }),
  );
  return found.flat();
}
