export * from './host.ts';
export { BUSYBOX_IMAGE, buildImages } from './images/build.ts';
export * from './lab.ts';
export * from './network.ts';
export * from './run.ts';
