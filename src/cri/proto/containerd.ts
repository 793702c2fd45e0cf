import { defineSchema } from '../../grpc/index.ts';

/**
 * The parts of containerd's own API the agent uses (containerd/api, unchanged from 1.4 to 2.x): the events service, and
 * image records for pins and extra names.
 */
export const containerdSchema = defineSchema({
  enums: {},
  messages: {
    Empty: '',
    SubscribeRequest: 'filters=1:string[]',
    Any: 'typeUrl=1 value=2:bytes',
    Envelope: 'namespace=2 topic=3 event=4:Any',
    // One table for several events: TaskStart, TaskOOM and TaskExit have the container in field 1, TaskExit the process
    // (its own id, or an exec's) in 2 and the exit code in 4.
    TaskExit: 'containerId=1 id=2 exitStatus=4:uint32',
    TaskEvent: 'containerId=1',
    ContainerEvent: 'id=1',

    Timestamp: 'seconds=1:int64 nanos=2:int32',
    Descriptor: 'mediaType=1 digest=2 size=3:int64 annotations=5:map',
    Image: 'name=1 labels=2:map target=3:Descriptor! createdAt=7:Timestamp updatedAt=8:Timestamp',
    FieldMask: 'paths=1:string[]',
    ListImagesRequest: 'filters=1:string[]',
    ListImagesResponse: 'images=1:Image[]',
    ImageRequest: 'image=1:Image updateMask=2:FieldMask',
    ImageResponse: 'image=1:Image',
    DeleteImageRequest: 'name=1 sync=2:bool',
    ContentInfo: 'digest=1 size=2:int64 labels=5:map',
    InfoRequest: 'digest=1',
    InfoResponse: 'info=1:ContentInfo',
    UpdateInfoRequest: 'info=1:ContentInfo updateMask=2:FieldMask',
    ReadRequest: 'digest=1 offset=2:int64 size=3:int64',
    ReadResponse: 'offset=1:int64 data=2:bytes',
    ListStatusesRequest: 'filters=1:string[]',
    ContentStatus: 'ref=3 offset=4:int64 total=5:int64',
    ListStatusesResponse: 'statuses=1:ContentStatus[]',
  },
});
