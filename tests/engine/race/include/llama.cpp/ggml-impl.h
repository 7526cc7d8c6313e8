// The table that CPUInfer's constructor fills; the race test reads it nowhere.
#pragma once
static float ggml_table_f32_f16[1 << 16];
#define GGML_COMPUTE_FP16_TO_FP32(x) static_cast<float>(x)
