export * from './errors.ts';
export * from './layout.ts';
export * from './manager.ts';
export * from './mounter.ts';
export * from './remove-tree.ts';
export * from './shared-tmpfs.ts';
export * from './subpath.ts';
export * from './teardown.ts';
