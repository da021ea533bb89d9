// Pictures for tests: bytes of files, and of pixels.
#pragma once

#include <png.h>

#include <cstdio>  // before jpeglib.h, which needs it
#include <cstdlib>
#include <string>

#include <jpeglib.h>

namespace shoal::flow {

inline std::string ramp(size_t bytes) {
  std::string pixels(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) pixels[i] = static_cast<char>(i * 7);
  return pixels;
}

inline std::string png_of(int width, int height, uint32_t format) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<uint32_t>(width);
  image.height = static_cast<uint32_t>(height);
  image.format = format;
  const std::string pixels = ramp(PNG_IMAGE_SIZE(image));
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = bytes.size();
  png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, nullptr);
  bytes.resize(size);
  return bytes;
}

inline std::string jpeg_of(int width, int height, int channels) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  jpeg_start_compress(&info, TRUE);
  std::string row(static_cast<size_t>(width * channels), '\x60');
  while (info.next_scanline < info.image_height) {
    JSAMPROW line = reinterpret_cast<JSAMPROW>(row.data());
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  std::string bytes(reinterpret_cast<char*>(memory), size);
  jpeg_destroy_compress(&info);
  std::free(memory);
  return bytes;
}

}  // namespace shoal::flow
