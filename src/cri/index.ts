export { cniFolders, findCniPlugins } from './containerd/cni.ts';
export { probeHost } from './containerd/host-facts.ts';
export { type Cri, type CriOptions, createCri } from './create-cri.ts';
export * from './types.ts';
