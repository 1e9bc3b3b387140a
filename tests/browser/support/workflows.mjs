// Workflows that tests add to those which are shipped.

/** A picture in, its negative out. */
export const repaint = {
  template: {
    1: { class_type: "LoadImage", inputs: { image: "example.png" }, _meta: { title: "Picture" } },
    2: { class_type: "ImageInvert", inputs: { image: ["1", 0] }, _meta: { title: "Invert" } },
    3: { class_type: "SaveImageWebsocket", inputs: { images: ["2", 0] }, _meta: { title: "Send" } },
  },
  config: {
    description: "The negative of a picture of yours",
    node_mappings: { image: { node_id: "1", property: "image", description: "The picture to invert" } },
    outputs: ["3"],
  },
};

/** A picture that takes so many seconds, with previews, whatever the speed of the simulator: a job to look at while it runs. */
export const slow = (seconds) => ({
  template: {
    4: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly-fp16.safetensors" }, _meta: { title: "Checkpoint" } },
    5: { class_type: "EmptyLatentImage", inputs: { width: 512, height: 512, batch_size: 1 }, _meta: { title: "Size" } },
    6: { class_type: "CLIPTextEncode", inputs: { text: "a mountain", clip: ["4", 1] }, _meta: { title: "Prompt" } },
    3: {
      class_type: "KSampler", _meta: { title: "Sampler" },
      inputs: {
        seed: 5, steps: 40, seconds, preview: "jpeg", cfg: 7, sampler_name: "euler", scheduler: "normal", denoise: 1,
        model: ["4", 0], positive: ["6", 0], negative: ["6", 0], latent_image: ["5", 0],
      },
    },
    8: { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] }, _meta: { title: "Decode" } },
    9: { class_type: "SaveImageWebsocket", inputs: { images: ["8", 0] }, _meta: { title: "Send" } },
  },
  config: {
    description: "Many steps, for the last bit of detail",
    node_mappings: {
      prompt: { node_id: "6", property: "text", description: "What the picture shows" },
      seed: { node_id: "3", property: "seed", description: "The same seed gives the same picture" },
      width: { node_id: "5", property: "width", default: 512 },
      height: { node_id: "5", property: "height", default: 512 },
    },
  },
});
