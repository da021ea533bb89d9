# Shoal::arrow: Arrow C++, as the Python package pyarrow brings it: headers, and libraries whose names end in the version
# (docs/decisions/0021-arrow-comes-in-a-wheel.md says why). tools/setup installs the one of tools/requirements-data.txt.
#   in:   SHOAL_ARROW_DIR (cached; may be given: the folder of pyarrow), else the one under .deps
#   out:  the target
set(SHOAL_ARROW_WANTED 26)
file(GLOB shoal_arrow_hint ${PROJECT_SOURCE_DIR}/.deps/python/lib/python3*/site-packages/pyarrow)
find_path(SHOAL_ARROW_DIR include/arrow/api.h HINTS ${shoal_arrow_hint} NO_DEFAULT_PATH DOC "The folder of pyarrow: include/ and libarrow.so.* are in it")
if(NOT SHOAL_ARROW_DIR)
  message(FATAL_ERROR "Arrow - not found; run tools/setup, or name the folder of pyarrow ${SHOAL_ARROW_WANTED} in SHOAL_ARROW_DIR")
endif()
file(STRINGS ${SHOAL_ARROW_DIR}/include/arrow/util/config.h shoal_arrow_version REGEX "define ARROW_(VERSION_MAJOR|SO_VERSION) ")
string(REGEX REPLACE "[^0-9;]" "" shoal_arrow_version "${shoal_arrow_version}")
list(GET shoal_arrow_version 0 shoal_arrow_major)
list(GET shoal_arrow_version 1 shoal_arrow_so)
if(NOT shoal_arrow_major EQUAL SHOAL_ARROW_WANTED)
  message(FATAL_ERROR "Arrow - version: got ${shoal_arrow_major} in ${SHOAL_ARROW_DIR}, want ${SHOAL_ARROW_WANTED}; name another folder in SHOAL_ARROW_DIR")
endif()

add_library(Shoal::arrow INTERFACE IMPORTED)
target_include_directories(Shoal::arrow SYSTEM INTERFACE ${SHOAL_ARROW_DIR}/include)
foreach(name arrow arrow_compute parquet)
  target_link_libraries(Shoal::arrow INTERFACE ${SHOAL_ARROW_DIR}/lib${name}.so.${shoal_arrow_so})
endforeach()
