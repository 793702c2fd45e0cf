export * from './client/connection.ts';
export { createImageService } from './client/image-service.ts';
export { createRuntimeService } from './client/runtime-service.ts';
export * from './types.ts';
